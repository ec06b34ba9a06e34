/* A JSON text that grows. Memory that runs out ends the process: there is nothing to answer with. */
#ifndef POSTERN_AGENT_JSON_H
#define POSTERN_AGENT_JSON_H

#include <stdbool.h>
#include <stddef.h>

struct json {
  char *text;
  size_t length, room;
  bool needs_comma;
};

/* Punctuation: '{', '}', '[' or ']'. */
void json_mark(struct json *json, char mark);
/* "key": */
void json_key(struct json *json, const char *key);
void json_string(struct json *json, const char *bytes, size_t length);
void json_number(struct json *json, unsigned value);
/* Whether the bytes are UTF-8 without NUL: only such bytes can be a JSON string. */
bool json_is_text(const char *bytes, size_t length);
void json_free(struct json *json);

#endif
