/* LAYER_SCALE without VSCALEFPS: half of the power at a time. The first product is exact, the second rounds.
 */
LAYER_TARGET static inline LAYER_F LAYER_FUNCTION(scale_in_two_steps)(LAYER_F p, LAYER_I n) {
    const LAYER_I half = n >> 1, other = (LAYER_I)((LAYER_U)n - (LAYER_U)half);
    const LAYER_U bias = (LAYER_U)LAYER_ALL_INT(127);
    const LAYER_F first = (LAYER_F)(((LAYER_U)half + bias) << 23);
    return (p * first) * (LAYER_F)(((LAYER_U)other + bias) << 23);
}
