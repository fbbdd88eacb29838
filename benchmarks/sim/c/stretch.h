// Trials of the on-board task "patterns", one after another; the file above has begin, act and end.

INLINE void patterns_begin(int32_t *head, uint16_t *task) {
    if (head[EVALUATE]) {
        if (!task[TASK_EVALUATING]) {
            task[TASK_RESUME] = task[TASK_NEXT];
            task[TASK_EVALUATING] = 1;
            task[TASK_NEXT] = 0;
        }
        return;
    }
    if (task[TASK_EVALUATING]) {
        task[TASK_NEXT] = task[TASK_RESUME];
        task[TASK_EVALUATING] = 0;
    }
    if (head[PHASE] == 0)
        task[TASK_START] = task[TASK_NEXT];
    else
        task[TASK_NEXT] = task[TASK_START];
}

INLINE const uint16_t *pattern(const uint16_t *task) {
    return task + TASK_DATA + task[TASK_NEXT] * (BLOCK_N_SENSORS + BLOCK_N_ACTUATORS);
}

INLINE void patterns_sense(const uint16_t *task, uint16_t *restrict x) {
    const uint16_t *restrict input = pattern(task);
    for (int32_t j = 0; j < BLOCK_N_SENSORS; j++)
        x[j] = input[j];
}

INLINE int32_t patterns_cost(uint16_t *task, const uint16_t *u) {
    const uint16_t *target = pattern(task) + BLOCK_N_SENSORS;
    int32_t cost = 0, shift = task[TASK_ERROR_SHIFT];
    for (int32_t i = 0; i < BLOCK_N_ACTUATORS; i++) {
        int32_t e = clip(((int16_t)u[i] - (int16_t)target[i]) >> shift, -0x4000, 0x4000);
        cost += e * e;
        if (cost > COST_LIMIT)
            cost = COST_LIMIT;
    }
    task[TASK_NEXT] = task[TASK_NEXT] + 1 < task[TASK_COUNT] ? task[TASK_NEXT] + 1 : 0;
    return cost;
}

void stretch(int32_t *restrict head, uint16_t *restrict mem, uint16_t *restrict task, uint16_t *restrict x,
             uint16_t *restrict u, int32_t trials, int32_t steps, int32_t evaluate) {
    for (int32_t n = 0; n < trials; n++) {
        int32_t cost = 0;
        head[EVALUATE] = evaluate;
        patterns_begin(head, task);
        begin(head, mem);
        for (int32_t t = 0; t < steps; t++) {
            patterns_sense(task, x);
            head[COST] = cost;
            act(head, mem, x, u);
            cost = patterns_cost(task, u);
        }
        head[COST] = cost;
        end(head, mem);
    }
}
