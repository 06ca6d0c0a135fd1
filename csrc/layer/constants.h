/* The constants of functions.inc.h: docs/numerics.md says where they come from. */
#ifndef AMX_LAYER_CONSTANTS_H
#define AMX_LAYER_CONSTANTS_H

/* 1 / ln 2; ln 2 in two parts, of which the upper one has 15 bits, so that a product with n is exact. */
#define LAYER_LOG2_E     0x1.715476p+0F
#define LAYER_LN_2_UPPER 0x1.62e4p-1F
#define LAYER_LN_2_LOWER 0x1.7f7d1cp-20F
/* (exp(r) - 1 - r) / r^2 */
#define LAYER_EXP_IN_R {0x1.fffffcp-2F, 0x1.555492p-3F, 0x1.5558f2p-5F, 0x1.1239f2p-7F, 0x1.6a2416p-10F}
/* (tanh(x) / x - 1) / x^2, of x^2 */
#define LAYER_TANH_IN_Z {-0x1.555534p-2F, 0x1.110768p-3F, -0x1.b84448p-5F, 0x1.5256d8p-6F, -0x1.76ac1cp-8F}
/* erf(x) / x - 1, of x^2 */
#define LAYER_ERF_IN_Z                                                                                       \
    {0x1.06eba8p-3F, -0x1.81273ep-2F,  0x1.ce2d2p-4F,  -0x1.b7fbb4p-6F,                                      \
     0x1.5419f6p-8F, -0x1.a485eep-11F, 0x1.4ae4d4p-14F}
/* The fourth root of 1 - erf(t + 2) */
#define LAYER_ERF_IN_T                                                                                       \
    {0x1.0bcc6ap-2F,  -0x1.27cb78p-2F, 0x1.961478p-4F,   0x1.c48c06p-8F,  -0x1.9160dcp-7F,                   \
     0x1.8f2bd6p-10F, 0x1.91e49p-11F,  -0x1.6c584ap-13F, -0x1.334fccp-16F}
/* Of the activations */
#define LAYER_ROOT_1_2   0.70710677F /* the root of 1/2 */
#define LAYER_ROOT_2_PI  0.7978846F  /* the root of 2 / pi */
#define LAYER_GELU_CUBED 0.044715F

#endif
