// Aligned memory for the kernels.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

namespace nacrith {

// Zeroed memory, aligned to 64 bytes. What is large asks for huge pages, which Linux gives only on request: weights are
// read from one end to the other for every few rows, and looking up a page for every 4 KiB takes up to a third of that.
template <class T>
class Buffer {
public:
    Buffer() = default;
    explicit Buffer(int64_t count) : memory_(allocated(static_cast<size_t>(count) * sizeof(T) + kAlign)) {
        const uintptr_t unit = memory_.get_deleter().mapped ? kHuge : kAlign;
        data_ = reinterpret_cast<T *>((reinterpret_cast<uintptr_t>(memory_.get()) + unit - 1) & ~(unit - 1));
    }
    T *data() const { return data_; }
    T &operator[](int64_t i) const { return data_[i]; }

private:
    static constexpr size_t kAlign = 64, kHuge = 2 << 20, kLarge = 1 << 20;

    struct Free {
        size_t mapped = 0;  // bytes; 0: of calloc
        void operator()(void *p) const {
            if (mapped)
                munmap(p, mapped);
            else
                std::free(p);
        }
    };
    using Memory = std::unique_ptr<void, Free>;

    static Memory allocated(size_t bytes) {
#ifdef MADV_HUGEPAGE
        if (bytes >= kLarge) {
            bytes += kHuge;
            void *p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (p == MAP_FAILED) throw std::bad_alloc();
            static_cast<void>(madvise(p, bytes, MADV_HUGEPAGE));  // refused where there are none
            return {p, Free{bytes}};
        }
#endif
        void *p = std::calloc(bytes, 1);
        if (!p) throw std::bad_alloc();
        return {p, Free{}};
    }

    Memory memory_;
    T *data_ = nullptr;
};

// Zeroed memory for many matrices, in few large buffers.
class Arena {
public:
    int8_t *take(int64_t bytes) {
        bytes = (bytes + 63) / 64 * 64;
        if (bytes > left_) {
            left_ = bytes > kChunk ? bytes : kChunk;
            next_ = chunks_.emplace_back(left_).data();
        }
        left_ -= bytes;
        next_ += bytes;
        return next_ - bytes;
    }

private:
    static constexpr int64_t kChunk = 32 << 20;
    std::vector<Buffer<int8_t>> chunks_;
    int8_t *next_ = nullptr;
    int64_t left_ = 0;
};

}  // namespace nacrith
