/* Vectors of the compiler's, of LAYER_BYTES bytes, in names of LAYER_NAME's, for functions of LAYER_TARGET:
 * text.inc.h has the contract. */
#include <stdint.h>
#include <string.h>

#include "layer/widths.h"

#define LAYER_JOIN_(a, b)    layer_##a##_##b
#define LAYER_JOIN(a, b)     LAYER_JOIN_(a, b)
#define LAYER_FUNCTION(what) LAYER_JOIN(LAYER_NAME, what)
#define LAYER_INLINE         static inline __attribute__((always_inline)) LAYER_TARGET

#define LAYER_F LAYER_FUNCTION(f32)
#define LAYER_I LAYER_FUNCTION(i32)
#define LAYER_U LAYER_FUNCTION(u32)
#define LAYER_B LAYER_FUNCTION(u8)
#define LAYER_L LAYER_FUNCTION(i64)
typedef float LAYER_F __attribute__((vector_size(LAYER_BYTES)));
typedef int32_t LAYER_I __attribute__((vector_size(LAYER_BYTES)));
typedef uint32_t LAYER_U __attribute__((vector_size(LAYER_BYTES)));
typedef uint8_t LAYER_B __attribute__((vector_size(LAYER_BYTES)));
typedef int64_t LAYER_L __attribute__((vector_size(LAYER_BYTES)));

enum {
    LAYER_LANES = LAYER_BYTES / 4,
    LAYER_ACROSS = 4, /* vectors that are worked on together */
};
