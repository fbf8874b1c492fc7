#define ATTENTION_IMPLEMENTATION
#include "attention.h"

#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    float x[] = {1, 0, 0, 2, 1, 1}, y[6] = {0}; /* three tokens of two numbers */
    attn_array in = attn_array_2d(ATTN_F32, x, 3, 2), out = attn_array_2d(ATTN_F32, y, 3, 2);
    size_t bytes = 0;
    attn_exec run = attn_exec_default();
    run.query = &bytes; /* how much scratch memory? */
    attn_status status = attn_self_attention(&in, &in, &in, &out, NULL, &run);
    run = attn_exec_in(malloc(bytes), bytes);
    if (!status) status = attn_self_attention(&in, &in, &in, &out, NULL, &run);
    puts(attn_status_string(status));
    for (int i = 0; i < 6; i += 2) printf("%.4f %.4f\n", (double)y[i], (double)y[i + 1]);
    free(run.workspace);
    return status != ATTN_OK;
}
