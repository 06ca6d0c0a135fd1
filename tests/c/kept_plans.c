/* A product after another one: whether it is planned anew, and as if it were the first. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "gemm/gemm.h"

static int available = 4, planned; /* how many plans were made */

int team_available(void) {
    return available;
}
const struct gemm_micro_set *gemm_micro_for(int op) {
    static const struct gemm_micro_set any;
    planned++;
    return op < 0 ? NULL : &any;
}
static const struct vector_family one = {
    .name = "one", .rows = 4, .tiles = 1, .cycles = 656, .a_bytes = 128, .b_bytes = 2048};
static const struct vector_family other = {
    .name = "other", .rows = 4, .tiles = 1, .cycles = 656, .a_bytes = 128, .b_bytes = 2048};
static const struct vector_family *family = &one;
const struct vector_family *gemm_family(int engine, int op) {
    (void)op;
    return engine == AMX_VECTOR ? family : NULL;
}
int amx_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]) {
    (void)leaf, (void)subleaf, (void)registers;
    return -1;
}

struct product {
    int engine, op, threads;
    int64_t m, n, k, batch, operands;
};
static const struct product first = {AMX_NATIVE, AMX_TDPBSSD, 0, 700, 800, 900, 6, 6};

/* Without what may lie behind the last member. */
enum { PLAN = offsetof(struct amx_gemm_plan, column_parts) + sizeof(int) };

static const struct amx_gemm_plan *find(const struct product *p) {
    const struct amx_gemm_plan *plan = NULL;
    return gemm_find_plan(p->engine, gemm_family(p->engine, p->op), p->op, p->threads, p->m, p->n, p->k,
                          p->batch, p->operands, &plan) == 0
               ? plan
               : NULL;
}

/* Whether it is planned now: 0 or 1, or -1 where the plan is another than a new one. */
static int is_planned(const struct product *p) {
    struct amx_gemm_plan new;
    planned = 0;
    const struct amx_gemm_plan *plan = find(p);
    const int count = planned;
    amx_gemm_make_plan(p->engine, p->op, p->threads, p->m, p->n, p->k, p->batch, p->operands, NULL, &new);
    return plan != NULL && memcmp(plan, &new, PLAN) == 0 ? count : -1;
}

static void *of_another_thread(void *unused) {
    (void)unused;
    printf("another thread's first %d\n", is_planned(&first));
    return NULL;
}

int main(void) {
    struct product p = first;
    pthread_t thread;
    printf("first %d\n", is_planned(&p));
    printf("again %d\n", is_planned(&p));
#define CHANGE(what, value)                                                                                  \
    p = first;                                                                                               \
    p.what = value;                                                                                          \
    printf(#what " %d", is_planned(&p));                                                                     \
    printf(" back %d\n", is_planned(&first));
    CHANGE(engine, AMX_EMULATED)
    CHANGE(op, AMX_TDPBF16PS)
    CHANGE(threads, 1)
    CHANGE(threads, 3)
    CHANGE(m, 701)
    CHANGE(n, 801)
    CHANGE(k, 901)
    CHANGE(batch, 7)
    CHANGE(operands, 0)
    p.engine = AMX_VECTOR, p.operands = 6;
    printf("in vectors %d", is_planned(&p));
    family = &other;
    printf(" other family %d", is_planned(&p));
    printf(" again %d\n", is_planned(&p));
    printf("back %d\n", is_planned(&first));
    p = first;
    available = 2; /* as settings may say */
    printf("fewer available %d\n", is_planned(&first));
    p.operands = 6, p.threads = 2;
    printf("as many as available %d\n", is_planned(&p));
    available = 1; /* as they may say, too */
    printf("one available %d\n", is_planned(&first));
    amx_gemm_assume_caches(&(struct amx_caches){8 << 10, 64 << 10});
    printf("assumed caches %d\n", is_planned(&first));
    amx_gemm_assume_caches(NULL);
    printf("own caches %d\n", is_planned(&first));
    pthread_create(&thread, NULL, of_another_thread, NULL);
    pthread_join(thread, NULL);
    printf("after it %d\n", is_planned(&first));
    p = first, p.op = -1;
    printf("impossible %d\n", is_planned(&p));
    printf("after the impossible %d\n", is_planned(&first));
    return 0;
}
