// Every bound and delay of daemon, control API and command line in one place, with its unit in the
// name. Bounds that are part of a format stand with that format.

/** RAM for data that is written but not sealed: writers wait above it. */
export const DIRTY_BYTES_DEFAULT = 256 * 1024 * 1024
/** RAM for file content that could be read from packs again. */
export const CLEAN_BYTES_DEFAULT = 64 * 1024 * 1024
/** Below this dirty limit a single large write could wait for itself. */
export const DIRTY_BYTES_MIN = 32 * 1024 * 1024

/** A unix socket's path; the kernel's limit is 108 with the closing NUL. */
export const SOCKET_PATH_BYTES_MAX = 107
/** Bodies of control requests: a passphrase and two paths fit many times. */
export const API_BODY_BYTES_MAX = 256 * 1024
export const PASSPHRASE_BYTES_MAX = 4096
export const CONFIG_BYTES_MAX = 1024 * 1024
export const VAULT_NAME_BYTES_MAX = 255

/** How long a new daemon may take until it answers. */
export const DAEMON_START_TIMEOUT_MS = 30_000
/** A daemon that serves nothing stays this long for the next request. */
export const DAEMON_IDLE_MS = 300
/** A clean shutdown that takes longer is ended: what was fsynced is safe, the rest may be lost. */
export const SHUTDOWN_TIMEOUT_MS = 120_000
/** The log is moved aside when the daemon starts and it is larger than this. */
export const LOG_BYTES_MAX = 8 * 1024 * 1024
/** Kernel caches of names and attributes: every change comes through this mount. */
export const KERNEL_CACHE_LIFETIME_SEC = 3600
/** Less free space than this where the state lies is worth a warning. */
export const DISK_FREE_WARN_BYTES = 1024 * 1024 * 1024
