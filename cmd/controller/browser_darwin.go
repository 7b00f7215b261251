package main

func browser(file string) (name string, args []string) { return "open", []string{file} }
