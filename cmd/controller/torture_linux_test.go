package main

// tortureServers are the real servers that start on this system.
func tortureServers() []string { return []string{"tusd", "vsftpd", "sshd"} }
