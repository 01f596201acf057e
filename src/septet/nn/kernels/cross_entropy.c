/* Logits to losses and the gradients of the logits, a row at a time, in place.

Of each row the greatest logit, the sum of powers and the loss are found while the row is in the cache, and what it is to be times its
weight, softmax minus the one-hot target, is written over it. Sums are float32, whatever the logits are. A row's result does not
depend on which thread computes it.

What it is not: a library. `septet.nn.cross_entropy` compiles and calls it, and knows how to do without it.

    cc -O3 -march=native -shared -fPIC cross_entropy.c -o cross_entropy.so -lm
*/

#include "vectors.h"

#define TOGETHER 4 /* rows that a thread takes at a time */

/* logits [rows, size], bfloat16 or float32, `step` numbers from row to row; bias [size] and weights [rows] may be NULL; nll [rows]. */
typedef struct {
    void *logits;
    const int64_t *labels;
    const float *bias, *weights;
    float *nll;
    int64_t rows, size, step;
    int32_t half, slopes, threads;
    int64_t next, failed;
} job;

static void one_row(const job *j, int64_t row, float *room)
{
    uint16_t *halves = (uint16_t *)j->logits + row * j->step;
    float *floats = (float *)j->logits + row * j->step;
    long padded = up(j->size, WIDTH), label = j->labels[row];
    if (j->half)
        for (long i = 0; i < j->size; i++) room[i] = from_half(halves[i]);
    else
        memcpy(room, floats, j->size * sizeof *room);
    if (j->bias)
        for (long i = 0; i < j->size; i++) room[i] += j->bias[i];
    for (long i = j->size; i < padded; i++) room[i] = -INFINITY;
    float target = room[label];
    vec greatest = all(-INFINITY), sums = all(0.0f);
    for (long i = 0; i < padded; i += WIDTH) greatest = larger(greatest, *(vec *)(room + i));
    float most = most_of(greatest);
    for (long i = 0; i < padded; i += WIDTH) {
        vec x = power((*(vec *)(room + i) - all(most)) * all(LOG2_E));
        *(vec *)(room + i) = x;
        sums += x;
    }
    float total = sum_of(sums);
    j->nll[row] = logf(total) + most - target;
    if (!j->slopes) return;
    float weight = j->weights ? j->weights[row] : 1.0f, scale = weight / total;
    for (long i = 0; i < padded; i += WIDTH) *(vec *)(room + i) *= all(scale);
    room[label] -= weight;
    if (j->half)
        for (long i = 0; i < j->size; i++) halves[i] = to_half(room[i]);
    else
        memcpy(floats, room, j->size * sizeof *room);
}

static void work(void *given)
{
    job *j = given;
    float *room = malloc(up(j->size, WIDTH) * sizeof *room);
    if (!room) {
        __atomic_store_n(&j->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    for (;;) {
        int64_t first = __atomic_fetch_add(&j->next, TOGETHER, __ATOMIC_RELAXED);
        if (first >= j->rows) break;
        for (int64_t row = first; row < first + TOGETHER && row < j->rows; row++) one_row(j, row, room);
    }
    free(room);
}

/* Return 0, or 1: no memory. */
int cross_entropy(job *j, team parallel)
{
    j->next = j->failed = 0;
    together(work, j, j->threads, parallel);
    return (int)j->failed;
}
