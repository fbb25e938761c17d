// Bit histories in a hash table: what each context has seen at each node of a half byte.
//
// A bucket serves one context and one half byte: a check byte and 15 histories, the nodes of a binary tree of
// four bits. Four buckets fill a cache line; a context looks through one line only and, where none of the four
// is its own, takes the one whose first history has seen least (Mahoney's lpaq does the like).
#pragma once

#include <cstring>
#include <memory>
#include <new>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "learner/tables.hpp"

namespace nacrith::learner {
inline namespace NACRITH_LEARNER_SET {

class Histories {
public:
    // 2^bits bytes, bits >= 6.
    explicit Histories(int bits) : mask_((uint32_t{1} << (bits - 6)) - 1), lines_(zeroed(size_t{1} << bits)) {}

    void prefetch(uint32_t h) const { __builtin_prefetch(&lines_[h >> 2 & mask_]); }

    // The 15 histories of the context with hash h; all 0, nothing seen, if it is new.
    uint8_t *find(uint32_t h) {
        Line &line = lines_[h >> 2 & mask_];
        const auto check = static_cast<uint8_t>((h >> 24) | (h >> 24 == 0));
        auto &b = line.buckets;
        const uint32_t checks = static_cast<uint32_t>(b[0][0] | b[1][0] << 8 | b[2][0] << 16) | uint32_t{b[3][0]} << 24;
        const uint32_t differ = checks ^ check * 0x01010101u;
        // The lowest byte of 0 in `differ` is the lowest one marked here.
        const uint32_t equal = (differ - 0x01010101u) & ~differ & 0x80808080u;
        if (equal) return b[__builtin_ctz(equal) / 8] + 1;
        uint8_t *worst = b[0];
        int least = 256;
        for (auto &bucket : b) {
            const int priority = bucket[0] ? bucket[1] : -1;
            if (priority < least) least = priority, worst = bucket;
        }
        std::memset(worst, 0, 16);
        worst[0] = check;
        return worst + 1;
    }

private:
    struct alignas(64) Line {
        uint8_t buckets[4][16];
    };

    struct Unmap {
        size_t size;
        void operator()(Line *lines) const {
#ifdef __linux__
            munmap(lines, size);
#else
            delete[] lines;
#endif
        }
    };
    using Lines = std::unique_ptr<Line[], Unmap>;

    // Zeroed memory. Large pages, where the system has them: nearly every look-up is on another page.
    static Lines zeroed(size_t size) {
#ifdef __linux__
        void *memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) throw std::bad_alloc();
        madvise(memory, size, MADV_HUGEPAGE);
        return Lines(static_cast<Line *>(memory), Unmap{size});
#else
        return Lines(new Line[size / sizeof(Line)](), Unmap{size});
#endif
    }

    uint32_t mask_;
    Lines lines_;
};

}  // namespace NACRITH_LEARNER_SET
}  // namespace nacrith::learner
