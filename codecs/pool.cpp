// See pool.hpp.
#include "pool.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace nacrith {
namespace {

constexpr uint64_t kField = (uint64_t{1} << 20) - 1;
constexpr int kSpins = 4000;  // some tens of microseconds

int64_t process_id() {
#if defined(__unix__) || defined(__APPLE__)
    return getpid();
#else
    return 0;
#endif
}

void relax() {
#if defined(__x86_64__) || defined(_M_X64)
    _mm_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
    asm volatile("yield");
#endif
}

bool has_tasks(uint64_t state) { return (state & kField) < (state >> 20 & kField); }

}  // namespace

Pool::Pool(int threads) : threads_(threads), process_(process_id()) {
    for (int i = 1; i < threads; i++) workers_.emplace_back([this, i] { work(i); });
}

Pool::~Pool() {
    if (!own_process()) {
        for (std::thread &t : workers_) t.detach();
        return;
    }
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    for (std::thread &t : workers_) t.join();
}

bool Pool::own_process() const { return process_ == process_id(); }

void Pool::start(int64_t count, const void *context, Call call) {
    context_ = context;
    call_ = call;
    done_ = 0;
    const uint64_t generation = (state_ >> 40) + 1;
    state_ = generation << 40 | static_cast<uint64_t>(count) << 20;
    if (asleep_ > 0) {
        const std::lock_guard<std::mutex> lock(mutex_);
        wake_.notify_all();
    }
    while (help(0)) {
    }
    for (int spins = 0; done_ < count; spins++) {
        if (spins < kSpins)
            relax();
        else
            std::this_thread::yield();
    }
}

// Runs one task if one is left.
bool Pool::help(int thread) {
    uint64_t state = state_;
    while (has_tasks(state)) {
        if (state_.compare_exchange_weak(state, state + 1)) {
            call_.load()(context_, static_cast<int64_t>(state & kField), thread);
            done_++;
            return true;
        }
    }
    return false;
}

void Pool::work(int thread) {
    int idle = 0;
    while (!stop_) {
        if (help(thread)) {
            idle = 0;
        } else if (++idle < kSpins) {
            relax();
        } else {
            std::unique_lock<std::mutex> lock(mutex_);
            asleep_++;
            wake_.wait(lock, [this] { return stop_ || has_tasks(state_); });
            asleep_--;
            idle = 0;
        }
    }
}

}  // namespace nacrith
