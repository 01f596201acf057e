/* Attention within documents of packed rows, forward and backward, on a processor's vector registers.

Each pair of a document and a head is a task by itself: its keys and values are read once as float32 into memory of the thread, and
blocks of queries go over them, so that scores stay in the cache and nothing of their size is kept. Sums, scores and softmax are
float32, whatever the tensors are. The backward pass makes the probabilities again from the logarithm of their sum (FlashAttention;
Dao 2023, https://arxiv.org/abs/2307.08691, algorithms 1 and 2). A task's result does not depend on which thread computes it, nor on
how many there are. What drops out of the probabilities is drawn by place, and again in the backward pass.

What it is not: a library. `septet.nn.packed_attention` compiles and calls it, and knows how to do without it.

    cc -O3 -march=native -shared -fPIC attention.c -o attention.so -lm
*/

#include "vectors.h"

#if defined(__AVX__) && !defined(__AVX512F__)
#define ROWS 4 /* of a product that are summed at one time: as many as there are registers for */
#else
#define ROWS 8
#endif
#define COLUMNS 16 /* rows of a matrix in here are padded to a multiple of this, and their number to a multiple of 8 */
#define BLOCK 32   /* queries that are computed at one time */

/* -- products ----------------------------------------------------------------------------------------------------------- */

#define PRODUCT(NAME, VECTORS)                                                                                               \
    static inline void NAME(long depth, const float *a, long down, long across, const float *b, long ldb, float *c, long ldc) \
    {                                                                                                                         \
        vec sum[ROWS][VECTORS];                                                                                               \
        for (int i = 0; i < ROWS; i++)                                                                                        \
            for (int j = 0; j < VECTORS; j++) sum[i][j] = *(const vec *)(c + i * ldc + j * WIDTH);                            \
        for (long k = 0; k < depth; k++) {                                                                                    \
            vec right[VECTORS];                                                                                               \
            for (int j = 0; j < VECTORS; j++) right[j] = *(const vec *)(b + k * ldb + j * WIDTH);                             \
            for (int i = 0; i < ROWS; i++) {                                                                                  \
                vec left = all(a[i * down + k * across]);                                                                     \
                for (int j = 0; j < VECTORS; j++) sum[i][j] += left * right[j];                                               \
            }                                                                                                                 \
        }                                                                                                                     \
        for (int i = 0; i < ROWS; i++)                                                                                        \
            for (int j = 0; j < VECTORS; j++) *(vec *)(c + i * ldc + j * WIDTH) = sum[i][j];                                  \
    }
PRODUCT(product_of_two, 2)
PRODUCT(product_of_one, 1)

/* c[m][n] += a[m][k] b[k][n]. Element (i, k) of a is a[i * down + k * across]; m is a multiple of 8, n of COLUMNS. */
static void add_product(long m, long n, long depth, const float *a, long down, long across, const float *b, long ldb, float *c,
                        long ldc)
{
    for (long j = 0; j < n;) {
        int two = n - j >= 2 * WIDTH;
        for (long i = 0; i < m; i += ROWS)
            (two ? product_of_two : product_of_one)(depth, a + i * down, down, across, b + j, ldb, c + i * ldc + j, ldc);
        j += two ? 2 * WIDTH : WIDTH;
    }
}

static void product(long m, long n, long depth, const float *a, long down, long across, const float *b, long ldb, float *c, long ldc)
{
    for (long i = 0; i < m; i++) memset(c + i * ldc, 0, n * sizeof *c);
    add_product(m, n, depth, a, down, across, b, ldb, c, ldc);
}

/* -- reading and writing ------------------------------------------------------------------------------------------------- */

/* One document's and head's part of a tensor: `rows` vectors of `width` numbers, `step` numbers apart; bfloat16 or float32. */
typedef struct {
    void *first;
    long step, rows, width;
    int half;
} part;

static void read_row(const part *x, long row, float scale, float *to)
{
    if (x->half) {
        const uint16_t *from = (const uint16_t *)x->first + row * x->step;
        for (long i = 0; i < x->width; i++) to[i] = from_half(from[i]) * scale;
    } else {
        const float *from = (const float *)x->first + row * x->step;
        for (long i = 0; i < x->width; i++) to[i] = from[i] * scale;
    }
}

static void write_row(const part *x, long row, float scale, const float *from)
{
    if (x->half) {
        uint16_t *to = (uint16_t *)x->first + row * x->step;
        for (long i = 0; i < x->width; i++) to[i] = to_half(from[i] * scale);
    } else {
        float *to = (float *)x->first + row * x->step;
        for (long i = 0; i < x->width; i++) to[i] = from[i] * scale;
    }
}

/* Rows first .. first + count - 1, times scale, [padded][ld]; what is beyond them or beyond the width is 0. */
static void read_rows(const part *x, long first, long count, long padded, float scale, float *to, long ld)
{
    for (long i = 0; i < padded; i++) {
        long known = i < count ? x->width : 0;
        if (known) read_row(x, first + i, scale, to + i * ld);
        memset(to + i * ld + known, 0, (ld - known) * sizeof *to);
    }
}

/* to[column][row] = from[row][column] */
static void turn(long rows, long columns, const float *from, long ld, float *to, long ld_to)
{
    for (long i = 0; i < rows; i += 16)
        for (long j = 0; j < columns; j++)
            for (long k = i; k < i + 16; k++) to[j * ld_to + k] = from[k * ld + j];
}

/* -- softmax ------------------------------------------------------------------------------------------------------------- */

/* Make the scores of one query, in powers of two, 2^(score - most); 0 beyond `seen`. Return the sum, and the greatest score. */
static float soften(float *scores, long seen, long padded, float *most)
{
    for (long j = seen; j < padded; j++) scores[j] = -INFINITY;
    vec greatest = all(-INFINITY), sum = all(0.0f);
    for (long j = 0; j < padded; j += WIDTH) greatest = larger(greatest, *(vec *)(scores + j));
    *most = most_of(greatest);
    vec level = all(*most);
    for (long j = 0; j < padded; j += WIDTH) {
        vec x = power(*(vec *)(scores + j) - level);
        *(vec *)(scores + j) = x;
        sum += x;
    }
    return sum_of(sum);
}

/* -- tasks --------------------------------------------------------------------------------------------------------------- */

enum { Q, K, V, OUT, GRAD, DQ, DK, DV, TENSORS };

/* What the caller gives. A tensor's steps count numbers, from one row, place and head to the next. A document is row, place, length. */
typedef struct {
    void *tensors[TENSORS];
    int64_t steps[TENSORS][3];
    float *logs; /* [rows, places, heads], without gaps: base-2 logarithms of the sums */
    const int64_t *documents;
    int64_t number, heads, width, places;
    int32_t half, causal, backward, threads;
    float scale, kept; /* kept: what probabilities that do not drop out are multiplied by */
    uint64_t seed;
    uint32_t drop; /* the share of probabilities that drop out, times 2^32 */
    int64_t next, failed;
} job;

static part part_of(const job *j, int which, const int64_t *document, long head)
{
    const int64_t *step = j->steps[which];
    long at = document[0] * step[0] + document[1] * step[1] + head * step[2];
    char *first = (char *)j->tensors[which] + at * (j->half ? 2 : 4);
    return (part){first, step[1], document[2], j->width, j->half};
}

/* The key of what drops out of one query's probabilities. */
static uint64_t query_key(const job *j, const int64_t *document, long query, long head)
{
    return key_of(j->seed, (uint64_t)((document[0] * j->places + document[1] + query) * j->heads + head));
}

static void forward(const job *j, const int64_t *document, long head, float *room)
{
    long length = document[2], padded = up(length, COLUMNS), width = up(j->width, COLUMNS);
    part q = part_of(j, Q, document, head), k = part_of(j, K, document, head), v = part_of(j, V, document, head);
    part out = part_of(j, OUT, document, head);
    float *logs = j->logs + (document[0] * j->places + document[1]) * j->heads + head;
    float *values = room, *turned = values + padded * width, *queries = turned + padded * width;
    float *found = queries + BLOCK * width, *scores = found + BLOCK * width;
    read_rows(&k, 0, length, padded, 1.0f, values, width); /* for a moment the keys */
    turn(padded, width, values, width, turned, padded);
    read_rows(&v, 0, length, padded, 1.0f, values, width);
    for (long first = 0; first < length; first += BLOCK) {
        long count = length - first < BLOCK ? length - first : BLOCK, rows = up(count, 8);
        long seen = j->causal ? first + count : length, columns = up(seen, COLUMNS);
        float sums[BLOCK];
        read_rows(&q, first, count, rows, j->scale * LOG2_E, queries, width);
        product(rows, columns, j->width, queries, width, 1, turned, padded, scores, padded);
        for (long i = 0; i < count; i++) {
            float most;
            sums[i] = soften(scores + i * padded, j->causal ? first + i + 1 : length, columns, &most);
            logs[(first + i) * j->heads] = log2f(sums[i]) + most;
            if (j->drop) drop_out(scores + i * padded, columns, query_key(j, document, first + i, head), j->drop);
        }
        product(rows, width, seen, scores, padded, 1, values, width, found, width);
        for (long i = 0; i < count; i++) write_row(&out, first + i, j->kept / sums[i], found + i * width);
    }
}

static void backward(const job *j, const int64_t *document, long head, float *room)
{
    long length = document[2], padded = up(length, COLUMNS), width = up(j->width, COLUMNS), size = padded * width;
    part q = part_of(j, Q, document, head), k = part_of(j, K, document, head), v = part_of(j, V, document, head);
    part out = part_of(j, OUT, document, head), grad = part_of(j, GRAD, document, head);
    part dq = part_of(j, DQ, document, head), dk = part_of(j, DK, document, head), dv = part_of(j, DV, document, head);
    const float *logs = j->logs + (document[0] * j->places + document[1]) * j->heads + head;
    float *keys = room, *keys_turned = keys + size, *values_turned = keys_turned + size, *key_sums = values_turned + size;
    float *value_sums = key_sums + size, *queries = value_sums + size, *grads = queries + BLOCK * width;
    float *found = grads + BLOCK * width, *probs = found + BLOCK * width, *slopes = probs + BLOCK * padded;
    read_rows(&v, 0, length, padded, 1.0f, keys, width); /* for a moment the values */
    turn(padded, width, keys, width, values_turned, padded);
    read_rows(&k, 0, length, padded, 1.0f, keys, width);
    turn(padded, width, keys, width, keys_turned, padded);
    memset(key_sums, 0, 2 * size * sizeof *key_sums);
    for (long first = 0; first < length; first += BLOCK) {
        long count = length - first < BLOCK ? length - first : BLOCK, rows = up(count, 8);
        long seen = j->causal ? first + count : length, columns = up(seen, COLUMNS);
        read_rows(&q, first, count, rows, j->scale * LOG2_E, queries, width);
        read_rows(&grad, first, count, rows, 1.0f, grads, width);
        product(rows, columns, j->width, queries, width, 1, keys_turned, padded, probs, padded);
        product(rows, columns, j->width, grads, width, 1, values_turned, padded, slopes, padded);
        for (long i = 0; i < rows; i++) {
            float *p = probs + i * padded, *s = slopes + i * padded;
            long known = i >= count ? 0 : j->causal ? first + i + 1 : length;
            /* the sum over keys of probability times its gradient is the product of the output with its own gradient */
            float inner = 0, *output = found;
            if (known) {
                read_row(&out, first + i, 1.0f, output);
                for (long d = 0; d < j->width; d++) inner += output[d] * grads[i * width + d];
            }
            for (long n = known; n < columns; n++) p[n] = -INFINITY;
            vec log = all(known ? logs[(first + i) * j->heads] : 0.0f), mean = all(inner), kept = all(j->kept);
            uint64_t key = query_key(j, document, first + i, head);
            if (j->drop) drop_out(s, columns, key, j->drop);
            for (long n = 0; n < columns; n += WIDTH) {
                vec prob = power(*(vec *)(p + n) - log);
                *(vec *)(p + n) = prob;
                *(vec *)(s + n) = prob * (*(vec *)(s + n) * kept - mean);
            }
            if (j->drop) drop_out(p, columns, key, j->drop);
        }
        product(rows, width, seen, slopes, padded, 1, keys, width, found, width);
        for (long i = 0; i < count; i++) write_row(&dq, first + i, j->scale, found + i * width);
        add_product(columns, width, count, slopes, 1, padded, queries, width, key_sums, width);
        add_product(columns, width, count, probs, 1, padded, grads, width, value_sums, width);
    }
    for (long i = 0; i < length; i++) {
        write_row(&dk, i, 1.0f / LOG2_E, key_sums + i * width);
        write_row(&dv, i, j->kept, value_sums + i * width);
    }
}

/* Compute tasks until there are none: what each thread does. Documents are given longest first. */
static void work(void *given)
{
    job *j = given;
    long longest = up(j->number ? j->documents[2] : 0, COLUMNS), width = up(j->width, COLUMNS);
    size_t numbers = (size_t)(j->backward ? 5 : 2) * longest * width + (size_t)BLOCK * (3 * width + 2 * longest);
    float *room = malloc(numbers * sizeof *room);
    if (!room) {
        __atomic_store_n(&j->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    for (;;) {
        int64_t task = __atomic_fetch_add(&j->next, 1, __ATOMIC_RELAXED);
        if (task >= j->number * j->heads) break;
        (j->backward ? backward : forward)(j, j->documents + 3 * (task / j->heads), task % j->heads, room);
    }
    free(room);
}

/* Return 0, or 1: no memory. */
int attention(job *j, team parallel)
{
    j->next = j->failed = 0;
    together(work, j, j->threads, parallel);
    return (int)j->failed;
}
