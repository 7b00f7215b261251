package main

func browser(file string) (name string, args []string) {
	return "rundll32", []string{"url.dll,FileProtocolHandler", file}
}
