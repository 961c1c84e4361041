#include "base/numbered.h"

#include "base/fatal.h"

#include <stdlib.h>
#include <string.h>

uint32_t numbered_count(const struct numbered *list)
{
    return list->end - list->head;
}

static void *element_at(const struct numbered *list, uint32_t at)
{
    return list->items + at * list->bytes;
}

static uint64_t number_at(const struct numbered *list, uint32_t at)
{
    uint64_t number;
    memcpy(&number, element_at(list, at), sizeof number);
    return number;
}

void *numbered_at(const struct numbered *list, uint32_t place)
{
    ASSERT(place < numbered_count(list));
    return element_at(list, list->head + place);
}

/* Where the first one is that is not before `number`. */
static uint32_t search(const struct numbered *list, uint64_t number)
{
    uint32_t from = list->head, to = list->end;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (number_at(list, middle) < number)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

void *numbered_find(const struct numbered *list, uint64_t number)
{
    uint32_t at = search(list, number);
    return at < list->end && number_at(list, at) == number ? element_at(list, at) : NULL;
}

static void move(struct numbered *list, uint32_t to, uint32_t from, uint32_t count)
{
    if (count > 0)
        memmove(element_at(list, to), element_at(list, from), count * list->bytes);
}

/* Room for one more: what went at the front is used again before more is asked for. */
static void make_room(struct numbered *list)
{
    if (list->end < list->capacity)
        return;
    if (list->head * 2 > list->end) {
        uint32_t count = numbered_count(list);
        move(list, 0, list->head, count);
        list->head = 0;
        list->end = count;
        return;
    }
    list->capacity = list->capacity ? list->capacity * 2 : 8;
    list->items = mem_realloc(list->items, list->capacity * list->bytes);
}

void *numbered_add(struct numbered *list, size_t bytes, uint64_t number)
{
    ASSERT(bytes >= sizeof number && (list->capacity == 0 || list->bytes == bytes));
    list->bytes = bytes;
    make_room(list);
    uint32_t at = search(list, number);
    ASSERT(at == list->end || number_at(list, at) != number);
    move(list, at + 1, at, list->end - at);
    list->end++;
    void *element = element_at(list, at);
    memset(element, 0, bytes);
    memcpy(element, &number, sizeof number);
    return element;
}

void numbered_remove(struct numbered *list, void *element)
{
    uint32_t at = (uint32_t)((size_t)((unsigned char *)element - list->items) / list->bytes);
    uint32_t before = at - list->head, behind = list->end - (at + 1);
    ASSERT(at >= list->head && at < list->end);
    if (before <= behind) {
        move(list, list->head + 1, list->head, before);
        list->head++;
    } else {
        move(list, at, at + 1, behind);
        list->end--;
    }
    if (list->head == list->end)
        list->head = list->end = 0;
}

void numbered_deinit(struct numbered *list)
{
    free(list->items);
    *list = (struct numbered){0};
}
