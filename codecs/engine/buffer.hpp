// Aligned memory for the kernels.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace nacrith {

// Zeroed memory, aligned to 64 bytes.
template <class T>
class Buffer {
public:
    Buffer() = default;
    explicit Buffer(int64_t count) : memory_(std::calloc(static_cast<size_t>(count) * sizeof(T) + 64, 1)) {
        if (!memory_) throw std::bad_alloc();
        const auto address = reinterpret_cast<uintptr_t>(memory_.get());
        data_ = reinterpret_cast<T *>((address + 63) & ~uintptr_t{63});
    }
    T *data() const { return data_; }
    T &operator[](int64_t i) const { return data_[i]; }

private:
    struct Free {
        void operator()(void *p) const { std::free(p); }
    };
    std::unique_ptr<void, Free> memory_;
    T *data_ = nullptr;
};

}  // namespace nacrith
