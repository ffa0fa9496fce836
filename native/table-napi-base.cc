// The JavaScript FileTable's methods for jobs and base content.

#include <cstring>

#include "bundle.h"
#include "table-napi-call.h"

namespace lattice {

namespace {

napi_value freeze(napi_env env, napi_callback_info info) {
  Call<1> c;
  uint64_t ino;
  if (!c.load(env, info) || !c.uint(0, &ino)) return nullptr;
  Outcome outcome;
  const auto job = c.table->freeze(ino, &outcome);
  if (outcome != Outcome::ok) return finish(env, outcome);
  if (!job) return nullptr;
  std::vector<double> row(14);
  row[0] = double(job->id);
  row[1] = double(job->data_bytes);
  pack_attr(job->attr, row.data() + 2);
  for (const Job::Part& part : job->parts) {
    const size_t n = row.size();
    const double offset = double(part.offset), length = double(part.length), hole = part.hole;
    if (n > 14 && row[n - 3] + row[n - 2] == offset && row[n - 1] == hole) row[n - 2] += length;
    else row.insert(row.end(), {offset, length, hole});
  }
  return make_doubles(env, row.data(), row.size());
}

napi_value read_frozen_of(napi_env env, Table* table, napi_value* args) {
  uint64_t id, offset;
  Bytes into;
  if (!get_uint(env, args[0], 1, kIntMax, &id, "readFrozen: no such job") ||
      !get_uint(env, args[1], 0, kIntMax, &offset, "readFrozen: offset out of range") ||
      !get_bytes(env, args[2], &into, "readFrozen: into must be a Uint8Array")) {
    return nullptr;
  }
  const auto job = table->job(id);
  if (!job) return throw_invalid(env, "readFrozen: no such job");
  if (!Table::read_frozen(*job, offset, into.data, into.size)) {
    return throw_invalid(env, "readFrozen: outside the job's extents");
  }
  return make_number(env, double(into.size));
}

napi_value read_frozen(napi_env env, napi_callback_info info) {
  Call<3> c;
  return c.load(env, info) ? read_frozen_of(env, c.table, c.args) : nullptr;
}

napi_value settle(napi_env env, napi_callback_info info) {
  Call<3> c;
  uint64_t job;
  bool ok;
  double thaw = 0;
  if (!c.load(env, info) || !c.uint(0, &job) || !c.flag(1, &ok)) return nullptr;
  if (napi_get_value_double(env, c.args[2], &thaw) != napi_ok || !(thaw >= 0)) {
    return throw_invalid(env, "settle: thawBegin out of range");
  }
  const uint64_t begin = thaw >= double(kSizeMax) ? UINT64_MAX : static_cast<uint64_t>(thaw);
  return finish(env, c.table->settle(job, ok, begin));
}

napi_value base_epoch(napi_env env, napi_callback_info info) {
  Call<1> c;
  uint64_t ino;
  if (!c.load(env, info) || !c.uint(0, &ino)) return nullptr;
  return make_number(env, double(c.table->base_epoch(ino)));
}

napi_value replace_base(napi_env env, napi_callback_info info) {
  Call<3> c;
  uint64_t ino, offset, length;
  if (!c.load(env, info) || !c.uint(0, &ino) || !c.range(1, &offset, &length)) return nullptr;
  return finish(env, c.table->replace_base(ino, offset, length));
}

napi_value filled(napi_env env, Outcome outcome) {
  if (outcome == Outcome::no_memory) return finish(env, outcome);
  return make_number(env, outcome == Outcome::ok ? 0 : 1);
}

napi_value fill(napi_env env, napi_callback_info info) {
  Call<4> c;
  uint64_t ino, epoch, offset;
  Bytes bytes;
  if (!c.load(env, info) || !c.uint(0, &ino) || !c.uint(1, &epoch) || !c.uint(2, &offset) ||
      !c.bytes(3, &bytes)) {
    return nullptr;
  }
  if (offset > kIntMax - bytes.size) return throw_invalid(env, "FileTable: a range is too long");
  return filled(env, c.table->fill(ino, epoch, offset, bytes.data, bytes.size));
}

napi_value fill_hole(napi_env env, napi_callback_info info) {
  Call<4> c;
  uint64_t ino, epoch, offset, length;
  if (!c.load(env, info) || !c.uint(0, &ino) || !c.uint(1, &epoch) ||
      !c.range(2, &offset, &length)) {
    return nullptr;
  }
  return filled(env, c.table->fill_hole(ino, epoch, offset, length));
}

// Rows of 9 (session.d.ts); throws for what no bundle can have.
bool get_pieces(napi_env env, napi_value value, std::vector<BundlePiece>* into) {
  constexpr size_t kColumns = 9;
  Doubles rows;
  if (!get_doubles(env, value, 0, &rows, "FileTable: pieces are rows of 9 numbers")) return false;
  into->resize(rows.size / kColumns);
  bool valid = rows.size % kColumns == 0;
  const double* v = rows.data;
  for (BundlePiece& p : *into) {
    for (size_t i = 0; i < kColumns && valid; i++) {
      valid = whole(v[i], 0, i == 0 || i == 3 ? double(kIntMax) / 4 : double(INT32_MAX));
    }
    // Lengths beyond a bundle, and none at all, cannot be right.
    valid = valid && v[1] >= 1 && v[1] <= double(kBundleMaxBytes);
    if (!valid) break;
    p.offset = uint64_t(v[0]), p.length = uint32_t(v[1]), p.fd = int(v[2]);
    p.bundle_offset = uint64_t(v[3]), p.bundle_bytes = uint32_t(v[4]);
    p.plain_offset = uint32_t(v[5]), p.packed_bytes = uint32_t(v[6]);
    p.chunk_bytes = uint32_t(v[7]), p.chunk_begin = uint32_t(v[8]);
    v += kColumns;
  }
  if (!valid) throw_invalid(env, "FileTable: a piece is out of range");
  return valid;
}

napi_value fetch(napi_env env, napi_callback_info info) {
  Call<3> c;
  uint64_t ino, epoch;
  std::vector<BundlePiece> pieces;
  if (!c.load(env, info) || !c.uint(0, &ino) || !c.uint(1, &epoch) ||
      !get_pieces(env, c.args[2], &pieces)) {
    return nullptr;
  }
  const int done = c.table->fetch_at_once(ino, epoch, pieces);
  if (done >= 0) return make_number(env, double(-1 - done));
  return make_number(env, double(c.table->fetch(ino, epoch, std::move(pieces))));
}

napi_value set_places(napi_env env, napi_callback_info info) {
  Call<3> c;
  uint64_t ino, epoch;
  std::vector<BundlePiece> pieces;
  if (!c.load(env, info) || !c.uint(0, &ino) || !c.uint(1, &epoch) ||
      !get_pieces(env, c.args[2], &pieces)) {
    return nullptr;
  }
  return make_boolean(env, c.table->set_places(ino, epoch, std::move(pieces)) != Outcome::full);
}

napi_value set_bundle_key(napi_env env, napi_callback_info info) {
  Call<2> c;
  Bytes epoch, key;
  if (!c.load(env, info) || !c.bytes(0, &epoch) || !c.bytes(1, &key)) return nullptr;
  if (epoch.size != kBundleEpochBytes || key.size != 32) {
    return throw_invalid(env, "setBundleKey: epoch id of 8 bytes, key of 32");
  }
  c.table->set_bundle_key(std::string(reinterpret_cast<char*>(epoch.data), epoch.size), key.data);
  return nullptr;
}

napi_value fail(napi_env env, napi_callback_info info) {
  Call<4> c;
  uint64_t ino, offset, length, error;
  if (!c.load(env, info) || !c.uint(0, &ino) || !c.range(1, &offset, &length) ||
      !c.uint(3, &error, 511)) {
    return nullptr;
  }
  if (error == 0) return throw_invalid(env, "fail: errno must be positive");
  c.table->fail(ino, offset, length, static_cast<int>(error));
  return nullptr;
}

}  // namespace

const Method kReadFrozen = {"readFrozen", read_frozen};
const Method kBaseMethods[10] = {
    {"freeze", freeze},
    {"settle", settle},
    {"baseEpoch", base_epoch},
    {"replaceBase", replace_base},
    {"fill", fill},
    {"fillHole", fill_hole},
    {"fetch", fetch},
    {"setPlaces", set_places},
    {"setBundleKey", set_bundle_key},
    {"fail", fail},
};

}  // namespace lattice
