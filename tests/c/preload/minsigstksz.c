/* What the auxiliary vector says to be the least room for a signal. */
#include <stdio.h>
#include <sys/auxv.h>

int main(void) {
    enum { MINSIGSTKSZ_TYPE = 51 }; /* AT_MINSIGSTKSZ, which older headers lack */
    printf("%lu\n", getauxval(MINSIGSTKSZ_TYPE));
    return 0;
}
