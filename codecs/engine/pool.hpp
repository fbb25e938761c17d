// A thread pool that runs the tasks of one call, each task once, in any order.
//
// A pass through the model has about a hundred parallel parts of a few microseconds to milliseconds. So workers
// spin for a moment before they sleep, and a part never waits for a sleeping worker: the threads that are awake
// claim tasks until none is left. Results must not depend on which thread runs which task.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace nacrith {

class Pool {
public:
    // The pool has the caller of `run` and up to threads - 1 workers, as many as the system grants.
    explicit Pool(int threads);
    ~Pool();
    Pool(const Pool &) = delete;
    Pool &operator=(const Pool &) = delete;

    int threads() const { return static_cast<int>(workers_.size()) + 1; }

    // Runs task(index, thread) for index = 0 .. count - 1 < 2^20, with thread < threads(); returns when all are
    // done. Tasks must not throw. One caller at a time, in the process that made the pool (fork.hpp).
    template <class Task>
    void run(int64_t count, const Task &task) {
        if (count <= 1 || workers_.empty()) {
            for (int64_t i = 0; i < count; i++) task(i, 0);
            return;
        }
        start(count, &task, [](const void *context, int64_t i, int thread) {
            (*static_cast<const Task *>(context))(i, thread);
        });
    }

    // Runs task(begin, end, thread) for 0 .. count - 1 in pieces of `step`.
    template <class Task>
    void pieces(int64_t count, int64_t step, const Task &task) {
        run((count + step - 1) / step, [&](int64_t i, int thread) {
            task(i * step, i * step + step < count ? i * step + step : count, thread);
        });
    }

private:
    using Call = void (*)(const void *, int64_t, int);

    void start(int64_t count, const void *context, Call call);
    bool help(int thread);
    void work(int thread);

    const int spins_;  // before a waiting thread sleeps
    std::atomic<const void *> context_{nullptr};
    std::atomic<Call> call_{nullptr};
    // generation (24 bits), count (20), next index (20) in one word. A task is claimed by compare and swap, so
    // that no thread can claim a task of a part that is finished.
    std::atomic<uint64_t> state_{0};
    std::atomic<int64_t> done_{0};
    std::atomic<bool> stop_{false};
    std::atomic<int> asleep_{0};         // number of workers
    std::atomic<bool> waiting_{false};  // the caller is asleep
    std::mutex mutex_;
    std::condition_variable wake_, finished_;
    std::vector<std::thread> workers_;
};

}  // namespace nacrith
