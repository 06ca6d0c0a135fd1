/* Where the driver's kernels would read A, product by product: argv is "m n k address row_stride
 * column_stride" in one word each, in bytes. Nothing is multiplied and no operand exists: kernels and packing
 * are stand-ins. */
#include <stdio.h>
#include <stdlib.h>

#include "gemm/gemm.h"
#include "gemm/job.h"
#include "gemm/packed.h"
#include "gemm/session.h"

static const uint8_t *a;
static int in_place, elsewhere, tails;

static void look(struct amxemu_state *tiles, const struct gemm_column *column) {
    (void)tiles;
    const intptr_t offset = (intptr_t)((uintptr_t)column->a - (uintptr_t)a);
    *(offset >= 0 && offset < (INT64_C(1) << 40) ? &in_place : &elsewhere) = 1;
    tails |= column->a_tail != NULL;
}
const struct gemm_micro_set *gemm_micro_for(int op) {
    static const struct gemm_micro_set any = {.native = {{look, look}, {look, look, look, look}}};
    return op < 0 ? NULL : &any;
}
void gemm_pack_a(uint8_t *panel, int64_t height, const struct gemm_matrix *of, int64_t first_row,
                 int64_t first_chunk, int64_t chunks) {
    (void)panel, (void)height, (void)of, (void)first_row, (void)first_chunk, (void)chunks;
}
void gemm_pack_b(uint8_t *to, int64_t panel_bytes, const struct gemm_matrix *b, int64_t first_column,
                 int64_t panels) {
    (void)to, (void)panel_bytes, (void)b, (void)first_column, (void)panels;
}
int gemm_is_time_now(struct gemm_watch *watch) {
    (void)watch;
    return 0;
}
int gemm_ask(struct gemm_watch *watch) {
    (void)watch;
    return 0;
}
void gemm_session_begin(struct gemm_session *s, int engine) {
    (void)s, (void)engine;
}
void gemm_session_end(struct gemm_session *s) {
    (void)s;
}
void gemm_session_shape(struct gemm_session *s, int64_t rows, int64_t columns) {
    (void)s, (void)rows, (void)columns;
}
int gemm_session_has(const struct gemm_session *s, int64_t rows, int64_t columns) {
    (void)s, (void)rows, (void)columns;
    return 0;
}
int gemm_gate_enter(void) {
    return 0;
}
void gemm_gate_leave(void) {}
int team_available(void) {
    return 1;
}
int team_forks(void) {
    return 0;
}
int team_run(int threads, team_body *body, void *work) {
    (void)threads;
    body(team_of_one(), work);
    return 1;
}
void team_meet(struct team team) {
    (void)team;
}
void gemm_stores_done(void) {}
const struct vector_family *gemm_family(int engine, int op) {
    (void)engine, (void)op;
    return NULL;
}
void gemm_multiply_stripe_in_vectors(struct gemm_job *job, const struct gemm_stripe *stripe) {
    (void)job, (void)stripe;
}
int64_t gemm_vector_buffer(const struct gemm_call *call) {
    (void)call;
    return 0;
}
void gemm_finish(const struct layer_block *layer, int64_t k, int64_t row, int64_t rows, int64_t column,
                 int64_t columns, const uint8_t *sums, int64_t sums_row) {
    (void)layer, (void)k, (void)row, (void)rows, (void)column, (void)columns, (void)sums, (void)sums_row;
}
int amx_is_stub(void) {
    return 0;
}
int amx_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]) {
    (void)leaf, (void)subleaf, (void)registers;
    return -1;
}

int main(int argc, char **argv) {
    const struct amx_caches sapphire_rapids = {48 << 10, 2 << 20};
    amx_gemm_assume_caches(&sapphire_rapids);
    for (int i = 1; i < argc; i++) {
        long long m, n, k, address, row, column;
        if (sscanf(argv[i], "%lld %lld %lld %lld %lld %lld", &m, &n, &k, &address, &row, &column) != 6) {
            return 2;
        }
        a = (const uint8_t *)((UINT64_C(1) << 46) + (uint64_t)address);
        struct gemm_call call = {
            .engine = AMX_NATIVE,
            .a = {a, m, k, row, column, 1},
            .b = {NULL, k, n, n, 1, 1},
            .a_offset = {.inner = 1},
            .b_offset = {.inner = 1},
            .c_offset = {.inner = 1},
            .c_row = 4 * n,
        };
        in_place = elsewhere = tails = 0;
        const int error = gemm_run(&call, AMX_TDPBSSD, 1, 1);
        printf("%s%s%s\n",
               error != 0 ? "error"
               : in_place ? "in place"
                          : "packed",
               tails ? " but for a tail" : "", in_place && elsewhere ? " and packed" : "");
    }
    return 0;
}
