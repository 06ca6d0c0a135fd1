/* Loads the library in argv[1] `argv[2]` times over, and says what it saw. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    for (int i = 0; i < atoi(argv[argc - 1]); i++) {
        void *const library = dlopen(argv[1], RTLD_NOW);
        if (library == NULL) {
            puts(dlerror());
            return 1;
        }
        unsigned (*const tile)(void) = (unsigned (*)(void))dlsym(library, "tile_in_constructor");
        unsigned (*const xcr0)(void) = (unsigned (*)(void))dlsym(library, "xcr0");
        printf("%u %#x\n", tile(), xcr0() & 0x60000);
        dlclose(library);
    }
    return 0;
}
