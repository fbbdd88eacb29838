// Trials of runs side by side (subsong_sim.lanes): its machine code is called as the simulator's batch calls it.

#include <stdint.h>

typedef int32_t trial_t(int32_t *head, uint16_t *mem, uint16_t *task, uint16_t *x, uint16_t *u, int32_t *costs, int32_t steps,
                        int32_t evaluate, uint32_t active);

void repeat(trial_t *trial, int32_t *head, uint16_t *mem, uint16_t *task, uint16_t *x, uint16_t *u, int32_t *costs,
            int32_t trials, int32_t steps, uint32_t active) {
    for (int32_t n = 0; n < trials; n++)
        trial(head, mem, task, x, u, costs, steps, 0, active);
}
