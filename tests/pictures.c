/* SPDX-License-Identifier: MIT-0
 *
 * Pictures of attention weights, for programs: any strides and either type give the same bytes, in every locale;
 * pixels have the size that is promised; what cannot be drawn is refused in words, with nothing to free.
 */
#include "check/harness.h"
#include "tools/picture.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>

typedef const char *(*form)(const attn_array *weights, const picture_options *options, picture_buffer *out);

static const char *as_text(const attn_array *weights, const picture_options *options, picture_buffer *out)
{
    return picture_text(weights, options, PICTURE_COLOURS, out);
}

static const char *as_pixels(const attn_array *weights, const picture_options *options, picture_buffer *out)
{
    size_t width = 0, height = 0;
    const char *wrong = picture_rgb(weights, options, out, &width, &height);
    return wrong || out->size == 3 * width * height ? wrong : "another size";
}

static const struct {
    const char *name;
    form draw;
} forms[] = {{"SVG", picture_svg},
#ifdef ATTN_PNG
             {"PNG", picture_png},
#endif
             {"pixels", as_pixels},
             {"text", as_text}};
enum { FORMS = sizeof forms / sizeof forms[0] };

/* Does it look like the other? */
static int same(form draw, const attn_array *weights, const attn_array *other, const picture_options *options)
{
    picture_buffer a = {NULL, 0, 0, 0}, b = {NULL, 0, 0, 0};
    const char *wrong = draw(weights, options, &a), *wrong_too = draw(other, options, &b);
    const int pass = !wrong && !wrong_too && a.size && a.size == b.size && memcmp(a.bytes, b.bytes, a.size) == 0;
    if (wrong || wrong_too) test_note("%s", wrong ? wrong : wrong_too);
    free(a.bytes);
    free(b.bytes);
    return pass;
}

static int refused(form draw, attn_array weights, const char *why)
{
    const picture_options options = {NULL, NULL, NULL, PICTURE_MAP, 0, NULL};
    picture_buffer out = {NULL, 0, 0, 0};
    const char *wrong = draw(&weights, &options, &out);
    if (!wrong || !strstr(wrong, why)) test_note("not '%s', but '%s'", why, wrong ? wrong : "fine");
    return wrong && strstr(wrong, why) && !out.bytes && !out.size;
}

static int has(const picture_buffer *b, const char *text)
{
    const size_t length = strlen(text);
    for (size_t i = 0; i + length <= b->size; i++)
        if (memcmp(b->bytes + i, text, length) == 0) return 1;
    return 0;
}

/* A locale with another point than ours, if there is one. */
static int comma_locale(void)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "ru_RU.UTF-8", "de_DE", "German"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (setlocale(LC_ALL, names[i]) && strcmp(localeconv()->decimal_point, ".") != 0) return 1;
    setlocale(LC_ALL, "C");
    return 0;
}

int main(void)
{
    enum { HEADS = 2, QUERIES = 7, KEYS = 5 };
    test_rng rng = {1};
    const attn_array packed = test_3d(ATTN_F32, HEADS, QUERIES, KEYS), narrow = test_part(&packed, 3, 0, HEADS);
    const attn_array wide = test_3d(ATTN_F64, HEADS, QUERIES, KEYS);
    attn_array turned = test_3d(ATTN_F32, KEYS, QUERIES, HEADS), backwards = test_3d(ATTN_F32, HEADS, QUERIES, KEYS),
               part, none = narrow;
    for (size_t i = 0; i < HEADS * QUERIES * KEYS; i++)
        ((double *)wide.data)[i] = (double)(((float *)narrow.data)[i] = (float)test_uniform(&rng));
    turned = attn_array_swap(turned, 0, 2);
    backwards = test_part(&backwards, 3, 0, HEADS); /* which makes its strides explicit */
    for (int axis = 0; axis < 3; axis++) {
        backwards.data = (float *)backwards.data + (ptrdiff_t)(backwards.shape[axis] - 1) * backwards.stride[axis];
        backwards.stride[axis] = -backwards.stride[axis];
    }
    test_assign(&turned, &narrow);
    test_assign(&backwards, &narrow);
    part = attn_array_2d(ATTN_F32, (float *)narrow.data + QUERIES * KEYS, QUERIES, KEYS);
    for (int i = 0; i < FORMS; i++) {
        for (int view = PICTURE_MAP; view <= PICTURE_LINES; view++) {
            const picture_options options = {NULL, NULL, NULL, (picture_view)view, 0, NULL};
            const attn_array head = test_part(&narrow, 3, 1, 1);
            test_ok(same(forms[i].draw, &narrow, &wide, &options) && same(forms[i].draw, &narrow, &turned, &options) &&
                        same(forms[i].draw, &narrow, &backwards, &options) &&
                        same(forms[i].draw, &narrow, &packed, &options) && same(forms[i].draw, &part, &head, &options),
                    "%s, %s: the same for all strides and types", forms[i].name, view ? "lines" : "map");
        }
        none.data = NULL;
        test_ok(refused(forms[i].draw, test_1d(ATTN_F32, 3), "(queries, keys)") &&
                    refused(forms[i].draw, test_4d(ATTN_F32, 1, 1, 2, 3), "(queries, keys)") &&
                    refused(forms[i].draw, test_2d(ATTN_F16, 2, 3), "float32 or float64") &&
                    refused(forms[i].draw, test_3d(ATTN_F32, 0, 2, 3), "no weights") &&
                    refused(forms[i].draw, test_2d(ATTN_F32, 2, 0), "no weights") &&
                    refused(forms[i].draw, none, "no weights") &&
                    refused(forms[i].draw, test_absent, "(queries, keys)") &&
                    refused(forms[i].draw, test_3d(ATTN_F32, PICTURE_HEADS + 1, 1, 1), "64 heads"),
                "%s: what cannot be drawn is refused", forms[i].name);
    }
    {
        const picture_options options = {NULL, NULL, "<&\033\377\357\277\277", PICTURE_MAP, 0, NULL};
        picture_buffer out = {NULL, 0, 0, 0};
        const char *wrong = picture_svg(&narrow, &options, &out);
        test_ok(!wrong && has(&out, "<title>&lt;&amp;\357\277\275\357\277\275\357\277\275") && !has(&out, "\033"),
                "titles have nothing that XML has not");
        free(out.bytes);
    }
#ifndef ATTN_PNG
    test_ok(refused(picture_png, narrow, "needs libpng"), "PNG: is refused");
    test_skip("built without libpng", "PNG");
#endif
    if (comma_locale()) {
        const picture_options options = {NULL, NULL, NULL, PICTURE_MAP, 0, NULL};
        picture_buffer out = {NULL, 0, 0, 0};
        picture_svg(&narrow, &options, &out);
        setlocale(LC_ALL, "C");
        picture_buffer plain = {NULL, 0, 0, 0};
        picture_svg(&narrow, &options, &plain);
        test_ok(plain.size && out.size == plain.size && memcmp(out.bytes, plain.bytes, out.size) == 0,
                "the same in every locale");
        free(out.bytes);
        free(plain.bytes);
    } else {
        test_skip("no locale with a comma", "the same in every locale");
    }
    return test_done();
}
