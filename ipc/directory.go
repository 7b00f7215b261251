package ipc

const (
	directoryHead     = 4096
	directoryEntry    = 128
	directoryCapacity = 4096
	directorySize     = directoryHead + directoryCapacity*directoryEntry
	minUnit           = 2048
)
