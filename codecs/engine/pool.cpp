// Implements pool.hpp.
#include "engine/pool.hpp"

#include <exception>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace nacrith {
namespace {

constexpr uint64_t kField = (uint64_t{1} << 20) - 1;
constexpr int kSpins = 4000;  // 50 to 200 microseconds

void relax() {
#if defined(__x86_64__) || defined(_M_X64)
    _mm_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
    asm volatile("yield");
#endif
}

bool has_tasks(uint64_t state) { return (state & kField) < (state >> 20 & kField); }
int64_t tasks(uint64_t state) { return static_cast<int64_t>(state >> 20 & kField); }

}  // namespace

// With more threads than processors, a spinning thread would delay the one that it waits for.
Pool::Pool(int threads) : spins_(threads <= static_cast<int>(std::thread::hardware_concurrency()) ? kSpins : 0) {
    workers_.reserve(static_cast<size_t>(threads - 1));
    try {
        for (int i = 1; i < threads; i++) workers_.emplace_back([this, i] { work(i); });
    } catch (const std::exception &) {
        // A limit on threads, or no memory for a stack: the pool works with fewer workers, or none.
    }
}

Pool::~Pool() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    for (std::thread &t : workers_) t.join();
}

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
    for (int spins = 0; spins < spins_; spins++) {
        if (done_ == count) return;
        relax();
    }
    std::unique_lock<std::mutex> lock(mutex_);
    waiting_ = true;
    finished_.wait(lock, [this, count] { return done_ == count; });
    waiting_ = false;
}

// Runs one task if there is one.
bool Pool::help(int thread) {
    uint64_t state = state_;
    while (has_tasks(state)) {
        if (state_.compare_exchange_weak(state, state + 1)) {
            call_.load()(context_, static_cast<int64_t>(state & kField), thread);
            if (++done_ == tasks(state) && waiting_) {  // in this order: the caller writes waiting_, then reads done_
                const std::lock_guard<std::mutex> lock(mutex_);
                finished_.notify_one();
            }
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
        } else if (++idle < spins_) {
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
