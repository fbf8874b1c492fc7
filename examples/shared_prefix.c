/* Three users share a prompt, whose keys are read once for all of them ("cascade"): one is given more of a prompt, two
 * decode. The keys of each one's own lie in pages. Prints whether the bits are those of the plain call, in which every
 * user has a whole cache. */
#define ATTENTION_IMPLEMENTATION
#include "attention.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USERS = 3, HEADS = 4, KV_HEADS = 2, DIM = 16, PAGE = 16, PREFIX = 1024, OWN = 2 * PAGE, ROWS = 12 };

static float k[USERS][KV_HEADS][PREFIX + OWN][DIM], v[USERS][KV_HEADS][PREFIX + OWN][DIM]; /* whole caches */
static float k_pages[USERS * OWN / PAGE][KV_HEADS][PAGE][DIM], v_pages[USERS * OWN / PAGE][KV_HEADS][PAGE][DIM];
static float q[HEADS][ROWS][DIM], plain[HEADS][ROWS][DIM], merged[HEADS][ROWS][DIM];

/* The state of all rows over the keys of d. */
static void *state_of(const attn_desc *d)
{
    size_t bytes;
    void *state = attn_state_size(d, &bytes) ? NULL : malloc(bytes);
    if (!state || attn_partial(d, state, bytes, NULL)) exit(1);
    return state;
}

int main(void)
{
    const int32_t begins[USERS + 1] = {0, 10, 11, 12}, lens[USERS] = {PREFIX + 10, PREFIX + 31, PREFIX + 5};
    const int32_t table[USERS][OWN / PAGE] = {{4, 1}, {0, 2}, {3, 5}};
    attn_desc whole = attn_desc_default(), shared, own;
    void *a, *b, *both;
    size_t bytes;

    for (int i = 0; i < HEADS * ROWS * DIM; i++)
        q[i / DIM / ROWS][i / DIM % ROWS][i % DIM] = (float)(i * 7919 % 1000) / 300 - 1.6f;
    for (int n = 0; n < USERS; n++)
        for (int h = 0; h < KV_HEADS; h++)
            for (int j = 0; j < PREFIX + OWN; j++)
                for (int c = 0; c < DIM; c++) {
                    const int user = j < PREFIX ? 0 : n, at = j - PREFIX;
                    const float x = (float)((user * 77 + h * 31 + j * 13 + c * 7) % 100) / 40 - 1.2f;
                    k[n][h][j][c] = x;
                    v[n][h][j][c] = x * x;
                    if (at < 0) continue;
                    k_pages[table[n][at / PAGE]][h][at % PAGE][c] = x;
                    v_pages[table[n][at / PAGE]][h][at % PAGE][c] = x * x;
                }

    whole.q = attn_array_3d(ATTN_F32, q, HEADS, ROWS, DIM);
    whole.k = attn_array_4d(ATTN_F32, k, USERS, KV_HEADS, PREFIX + OWN, DIM);
    whole.v = attn_array_4d(ATTN_F32, v, USERS, KV_HEADS, PREFIX + OWN, DIM);
    whole.out = attn_array_3d(ATTN_F32, plain, HEADS, ROWS, DIM);
    whole.cu_seqlens_q = attn_array_1d(ATTN_I32, begins, USERS + 1);
    whole.kv_lens = attn_array_1d(ATTN_I32, lens, USERS);
    whole.causal = 1;
    whole.align = ATTN_ALIGN_LOWER_RIGHT;
    if (attn_forward(&whole, NULL)) return 1;

    shared = attn_desc_default(); /* every row sees all of it */
    shared.q = whole.q;
    shared.k = attn_array_strided(ATTN_F32, k, 1, KV_HEADS, PREFIX, DIM, 0, (PREFIX + OWN) * DIM, DIM, 1);
    shared.v = attn_array_strided(ATTN_F32, v, 1, KV_HEADS, PREFIX, DIM, 0, (PREFIX + OWN) * DIM, DIM, 1);
    own = whole;
    own.k = attn_array_4d(ATTN_F32, k_pages, USERS * OWN / PAGE, KV_HEADS, PAGE, DIM);
    own.v = attn_array_4d(ATTN_F32, v_pages, USERS * OWN / PAGE, KV_HEADS, PAGE, DIM);
    own.block_table = attn_array_2d(ATTN_I32, table, USERS, OWN / PAGE);
    own.kv_begin = PREFIX; /* positions, and lengths, are those of the whole */
    a = state_of(&shared);
    b = state_of(&own);
    if (attn_state_merged_size(a, b, &bytes) || !(both = malloc(bytes))) return 1;
    whole.out.data = merged;
    if (attn_state_merge(a, b, both, bytes, ATTN_PATH_AUTO) || attn_state_finish(&whole, both, ATTN_PATH_AUTO))
        return 1;
    printf("%d rows of %d users: bits %s\n", ROWS, USERS, memcmp(plain, merged, sizeof plain) ? "differ" : "the same");
    free(a);
    free(b);
    free(both);
    return memcmp(plain, merged, sizeof plain) != 0;
}
