/* The room's text for one length of vectors; included once by each width's file, with
 *
 *   LAYER_NAME       of its functions, e.g. avx2
 *   LAYER_TARGET     attribute of functions that use its instructions
 *   LAYER_BYTES      of a vector
 *   LAYER_MASK       what a comparison gives; | unites two
 *   LAYER_ALL(x), LAYER_ALL_INT(x)     a number, repeated
 *   LAYER_LESS(x, y), LAYER_UNORDERED(x, y)
 *   LAYER_ANY(mask), LAYER_SELECT(mask, yes, no)
 *   LAYER_MIN(x, y), LAYER_MAX(x, y)   x < y ? x : y, x > y ? x : y: the second one, where either is a NaN
 *   LAYER_ROUND(x)                     to integers, half to even; below 2^22 in magnitude, else any number
 *   LAYER_FLOAT(i)                     of integers
 *   LAYER_SCALE(p, n)                  p * 2^n, rounded once; p in 0.5 to 2, n from -152 to 129
 *   LAYER_PACK(i)                      the bytes of four vectors of integers, -32768 to 32767, made 0 to 255
 *   LAYER_SUM_BYTES(b)                 integers of 64 bits, whose sum is that of the bytes
 *   LAYER_PACK_UPPER(x, y)             of two vectors the upper halves of the words
 *   LAYER_WIDEN_BF16(p), LAYER_WIDEN_FP16(p)   floats from LAYER_LANES elements at p
 *   LAYER_STORE_FP16(p, x)                     and back, a NaN given as 0x7FC00000
 *
 * and, before these, vectors.inc.h. Vectors are those of the compiler's, LAYER_FUNCTION(f32) and its like; +
 * - * / & | ^ << >> are its own.
 */
#include "layer/numbers.inc.h"

#include "layer/functions.inc.h"
#include "layer/quantize.inc.h"
#include "layer/finish.inc.h"
