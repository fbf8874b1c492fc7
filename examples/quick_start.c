#define ATTENTION_IMPLEMENTATION
#include "attention.h"
#include <stdio.h>
int main(void)
{
    float q[] = {1, 0, 0, 1}, k[] = {1, 0, 0, 1}, v[] = {1, 2, 3, 4}, out[4]; /* 2 tokens, head_dim 2 */
    attn_status status = attn_sdpa_f32(q, k, v, out, 1, 1, 1, 2, 2, 2, 0);
    printf("%s: %.7f %.7f\n", attn_status_string(status), (double)out[0], (double)out[1]);
    return (int)status;
}
