// The FUSE wire protocol (kernel protocol 7.31 and later) as the session uses it: the system's
// <linux/fuse.h>, plus what newer kernels know and older headers do not. All integers are in host
// order; every message starts with fuse_in_header (40 bytes) or fuse_out_header (16 bytes).

#pragma once

#include <linux/fuse.h>

#include <cstddef>
#include <cstdint>

namespace lattice {

inline constexpr uint32_t kFuseMinorMin = 31;
inline constexpr uint32_t kFuseMinorOurs = 38;

inline constexpr uint32_t kOpTmpfile = 51;
inline constexpr uint32_t kFattrKillSuidgid = 1u << 11;

// The largest request body besides WRITE payload, and the read buffer the kernel demands.
inline constexpr size_t kHeaderBytes = sizeof(fuse_in_header) + sizeof(fuse_write_in);  // 80
inline constexpr size_t kReadBufferMin = 8192;

static_assert(sizeof(fuse_in_header) == 40);
static_assert(sizeof(fuse_write_in) == 40);
static_assert(sizeof(fuse_out_header) == 16);
static_assert(sizeof(fuse_entry_out) == 128);
static_assert(sizeof(fuse_attr_out) == 104);
static_assert(sizeof(fuse_attr) == 88);
static_assert(sizeof(fuse_open_out) == 16);

}  // namespace lattice
