package main

func browser(file string) (name string, args []string) { return "xdg-open", []string{file} }
