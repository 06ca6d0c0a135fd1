/* Buffers that stay with a thread from call to call, so that a product in the steady state allocates nothing.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "gemm/gemm.h"

static _Thread_local struct gemm_workspace mine;
static pthread_key_t at_thread_end;
static int has_key; /* else the process has none left, and threads leave their memory behind */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void release(void *workspace) {
    struct gemm_workspace *w = workspace;
    for (int i = 0; i < GEMM_BUFFERS; i++) {
        free(w->buffer[i]);
        w->buffer[i] = NULL;
        w->size[i] = 0;
    }
}
static void make_key(void) {
    has_key = pthread_key_create(&at_thread_end, release) == 0;
}

uint8_t *gemm_workspace(enum gemm_buffer which, size_t wanted) {
    const size_t size =
        wanted < GEMM_CHUNK ? GEMM_CHUNK : wanted; /* NULL is no answer where nothing is wanted */
    if (mine.size[which] < size) {
        pthread_once(&once, make_key);
        if (has_key) {
            pthread_setspecific(at_thread_end, &mine);
        }
        void *grown = gemm_pages(size);
        if (grown == NULL) {
            return NULL;
        }
        memset(grown, 0, GEMM_CHUNK);
        free(mine.buffer[which]);
        mine.buffer[which] = grown;
        mine.size[which] = size;
    }
    return mine.buffer[which];
}

struct gemm_workspace gemm_workspace_put_aside(void) {
    const struct gemm_workspace aside = mine;
    mine = (struct gemm_workspace){{NULL}, {0}};
    return aside;
}

void gemm_workspace_put_back(const struct gemm_workspace *aside) {
    release(&mine);
    mine = *aside;
}
