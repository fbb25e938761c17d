// Whether threads that wait sleep: no processor time may go to waiting but for the short spin at its beginning,
// or several nacriths on one machine would take it from each other. tests/native/test_native_pool.py runs it.
//
// Prints what is wrong; the exit status is then 1.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <thread>

#include "engine/pool.hpp"

namespace {

using std::chrono::milliseconds;

constexpr double kMost = 0.02;  // seconds of processor time: the spin takes 0.0002, the waits 0.2

double seconds(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

bool report(const char *who, double spent) {
    if (spent < kMost) return true;
    std::printf("%s took %.3f s of processor time to wait for 0.2 s\n", who, spent);
    return false;
}

// The worker's task takes long, the caller has none left.
bool caller_sleeps(nacrith::Pool &pool) {
    std::atomic<int> begun{0};
    double before = 0;
    pool.run(2, [&](int64_t, int thread) {
        begun++;
        while (begun < 2) std::this_thread::yield();  // so that each thread has one of them
        if (thread)
            std::this_thread::sleep_for(milliseconds(200));
        else
            before = seconds(CLOCK_THREAD_CPUTIME_ID);
    });
    return report("the caller", seconds(CLOCK_THREAD_CPUTIME_ID) - before);
}

bool workers_sleep() {
    const double before = seconds(CLOCK_PROCESS_CPUTIME_ID);
    std::this_thread::sleep_for(milliseconds(200));
    return report("an idle worker", seconds(CLOCK_PROCESS_CPUTIME_ID) - before);
}

bool every_task_once(nacrith::Pool &pool) {
    std::atomic<int64_t> sum{0};
    for (int64_t part = 0; part < 2000; part++) pool.run(part % 40, [&](int64_t i, int) { sum += i + 1; });
    const int64_t expected = 50 * 10660;  // of i (i + 1) / 2 over i = 0 .. 39
    if (sum != expected) std::printf("tasks summed to %lld\n", static_cast<long long>(sum.load()));
    return sum == expected;
}

}  // namespace

int main() {
    bool right = true;
    for (const int threads : {2, 64}) {  // 64: more than there are processors, on most machines
        nacrith::Pool pool(threads);
        right = (threads > 2 || caller_sleeps(pool)) && right;
        right = every_task_once(pool) && right;
        right = workers_sleep() && right;
    }
    return right ? 0 : 1;
}
