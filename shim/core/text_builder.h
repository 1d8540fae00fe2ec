/*
 * A pattern, path or rule that is being put together in a fixed place.
 */
#ifndef MPLOGSHIM_TEXT_BUILDER_H
#define MPLOGSHIM_TEXT_BUILDER_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* `text` always ends with a zero byte once something was added; `overflow` once it did not fit, with what fitted in it.
 */
struct text_builder {
    char *text;
    size_t length;
    size_t size;
    bool overflow;
};

static inline void text_add_byte(struct text_builder *builder, char byte)
{
    if (builder->length + 1 >= builder->size) {
        builder->overflow = true;
        return;
    }
    builder->text[builder->length++] = byte;
    builder->text[builder->length] = '\0';
}

static inline void text_add(struct text_builder *builder, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        text_add_byte(builder, text[i]);
}

/* `text` with a '\' before every byte of `special`. */
static inline void text_add_escaped(struct text_builder *builder, const char *text, const char *special)
{
    for (; *text != '\0'; text++) {
        if (strchr(special, *text))
            text_add_byte(builder, '\\');
        text_add_byte(builder, *text);
    }
}

#endif
