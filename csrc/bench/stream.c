/* Plain reading and writing of memory: what the streams of a product cannot exceed. Portable but for the
 * stores that bypass the caches. */
#include <errno.h>

#include "bench/bench.h"
#include "bench/team.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { LINE = 64 };

typedef uint64_t word16 __attribute__((vector_size(16), may_alias)); /* one SSE2 register */

struct stream {
    word16 *data;
    int64_t lines; /* of 64 bytes */
    int64_t rounds;
};

/* This thread's lines. */
struct slice {
    word16 *begin, *end;
};
static struct slice slice_of(const struct stream *stream, int rank, int size) {
    const int64_t words = LINE / (int64_t)sizeof(word16);
    return (struct slice){stream->data + stream->lines * rank / size * words,
                          stream->data + stream->lines * (rank + 1) / size * words};
}

static void read_lines(const void *work, int rank, int size) {
    const struct stream *stream = work;
    const struct slice mine = slice_of(stream, rank, size);
    for (int64_t round = 0; round < stream->rounds; round++) {
        word16 s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
        for (const word16 *p = mine.begin; p < mine.end; p += 4) {
            s0 += p[0];
            s1 += p[1];
            s2 += p[2];
            s3 += p[3];
        }
        const word16 sum = s0 + s1 + s2 + s3;
        __asm__ volatile("" : : "m"(sum) : "memory"); /* used, and read anew in the next round */
    }
}

static void write_lines(const void *work, int rank, int size) {
    const struct stream *stream = work;
    const struct slice mine = slice_of(stream, rank, size);
    for (int64_t round = 0; round < stream->rounds; round++) {
        const word16 value = {(uint64_t)round + 1, (uint64_t)rank + 1};
        for (word16 *p = mine.begin; p < mine.end; p += 4) {
            p[0] = p[1] = p[2] = p[3] = value;
            __asm__ volatile("" : : : "memory"); /* else it may become memset, with stores of its choice */
        }
    }
}

#if defined(__SSE2__)
static void write_past_caches(const void *work, int rank, int size) {
    const struct stream *stream = work;
    const struct slice mine = slice_of(stream, rank, size);
    for (int64_t round = 0; round < stream->rounds; round++) {
        const __m128i value = _mm_set1_epi64x(round + 1);
        for (word16 *p = mine.begin; p < mine.end; p += 4) {
            _mm_stream_si128((__m128i *)p, value);
            _mm_stream_si128((__m128i *)(p + 1), value);
            _mm_stream_si128((__m128i *)(p + 2), value);
            _mm_stream_si128((__m128i *)(p + 3), value);
        }
    }
    _mm_sfence();
}
#endif

int amx_bench_stream(int kind, int threads, void *data, int64_t size, int64_t rounds) {
    if ((uintptr_t)data % LINE != 0 || size < LINE || rounds < 0) {
        return -EINVAL;
    }
    const struct stream stream = {data, size / LINE, rounds};
    switch (kind) {
    case AMX_STREAM_READ:
        return bench_on_team(threads, read_lines, &stream);
    case AMX_STREAM_WRITE:
        return bench_on_team(threads, write_lines, &stream);
    case AMX_STREAM_WRITE_NT:
#if defined(__SSE2__)
        return bench_on_team(threads, write_past_caches, &stream);
#else
        return -ENOSYS;
#endif
    default:
        return -EINVAL;
    }
}
