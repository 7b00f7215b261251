package shm

const fileMode = 0o600
