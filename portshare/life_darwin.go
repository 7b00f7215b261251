package portshare

const lockMode = 0o600
