// The constants of the kernel's FUSE protocol (7.x) that JavaScript needs. Source: <linux/fuse.h>.
// The native session answers READ, WRITE, FLUSH, RELEASE, FORGET, INIT and INTERRUPT itself;
// what is named here is what it hands over.

export const OP_LOOKUP = 1
export const OP_GETATTR = 3
export const OP_SETATTR = 4
export const OP_READLINK = 5
export const OP_SYMLINK = 6
export const OP_MKNOD = 8
export const OP_MKDIR = 9
export const OP_UNLINK = 10
export const OP_RMDIR = 11
export const OP_RENAME = 12
export const OP_LINK = 13
export const OP_OPEN = 14
export const OP_STATFS = 17
export const OP_FSYNC = 20
export const OP_SETXATTR = 21
export const OP_GETXATTR = 22
export const OP_LISTXATTR = 23
export const OP_REMOVEXATTR = 24
export const OP_READDIR = 28
export const OP_FSYNCDIR = 30
export const OP_CREATE = 35
export const OP_FALLOCATE = 43
export const OP_READDIRPLUS = 44
export const OP_RENAME2 = 45
export const OP_LSEEK = 46
export const OP_COPY_FILE_RANGE = 47
export const OP_SYNCFS = 50
export const OP_TMPFILE = 51

/** Bits of fuse_setattr_in.valid. */
export const FATTR_MODE = 1 << 0
export const FATTR_UID = 1 << 1
export const FATTR_GID = 1 << 2
export const FATTR_SIZE = 1 << 3
export const FATTR_ATIME = 1 << 4
export const FATTR_MTIME = 1 << 5
export const FATTR_ATIME_NOW = 1 << 7
export const FATTR_MTIME_NOW = 1 << 8
export const FATTR_CTIME = 1 << 10
export const FATTR_KILL_SUIDGID = 1 << 11

/** Bits of fuse_open_out.open_flags: the kernel may keep its cached pages (of a file), or entries.
 * */
export const FOPEN_KEEP_CACHE = 1 << 1
export const FOPEN_CACHE_DIR = 1 << 3

/** Bit of fuse_open_in.open_flags: the caller lacks CAP_FSETID, so O_TRUNC drops setuid and setgid.
 * */
export const FUSE_OPEN_KILL_SUIDGID = 1 << 0

export const IN_HEADER_BYTES = 40
export const ATTR_BYTES = 88
export const ENTRY_OUT_BYTES = 40 + ATTR_BYTES
export const ATTR_OUT_BYTES = 16 + ATTR_BYTES
export const OPEN_OUT_BYTES = 16
export const DIRENT_HEADER_BYTES = 24
