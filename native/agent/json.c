#include "json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GROWTH_BYTES 65536

static void append(struct json *json, const char *bytes, size_t length) {
  if (json->room - json->length < length) {
    json->room = json->length + length + GROWTH_BYTES;
    json->text = realloc(json->text, json->room);
    if (!json->text) _exit(EXIT_FAILURE);
  }
  memcpy(json->text + json->length, bytes, length);
  json->length += length;
}

static void separate(struct json *json) {
  if (json->needs_comma) append(json, ",", 1);
}

void json_mark(struct json *json, char mark) {
  bool opens = mark == '{' || mark == '[';
  if (opens) separate(json);
  append(json, &mark, 1);
  json->needs_comma = !opens;
}

void json_key(struct json *json, const char *key) {
  json_string(json, key, strlen(key));
  append(json, ":", 1);
  json->needs_comma = false;
}

static void append_escaped(struct json *json, char byte) {
  char escaped[8];
  if (byte == '"' || byte == '\\') {
    snprintf(escaped, sizeof escaped, "\\%c", byte);
  } else {
    snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned char)byte);
  }
  append(json, escaped, strlen(escaped));
}

void json_string(struct json *json, const char *bytes, size_t length) {
  separate(json);
  append(json, "\"", 1);
  for (size_t i = 0; i < length; i++) {
    unsigned char byte = (unsigned char)bytes[i];
    if (byte < 0x20 || byte == '"' || byte == '\\') append_escaped(json, bytes[i]);
    else append(json, &bytes[i], 1);
  }
  append(json, "\"", 1);
  json->needs_comma = true;
}

void json_number(struct json *json, unsigned value) {
  char digits[16];
  separate(json);
  append(json, digits, (size_t)snprintf(digits, sizeof digits, "%u", value));
  json->needs_comma = true;
}

/* Length of the UTF-8 sequence that `lead` begins, 0 when it begins none. */
static size_t sequence_length(unsigned char lead) {
  if (lead != 0 && lead < 0x80) return 1;
  if (lead >= 0xc2 && lead < 0xe0) return 2;
  if (lead >= 0xe0 && lead < 0xf0) return 3;
  if (lead >= 0xf0 && lead < 0xf5) return 4;
  return 0;
}

bool json_is_text(const char *bytes, size_t length) {
  for (size_t i = 0; i < length;) {
    size_t sequence = sequence_length((unsigned char)bytes[i]);
    if (sequence == 0 || sequence > length - i) return false;
    for (size_t k = 1; k < sequence; k++) {
      if (((unsigned char)bytes[i + k] & 0xc0) != 0x80) return false;
    }
    i += sequence;
  }
  return true;
}

void json_free(struct json *json) {
  free(json->text);
  *json = (struct json){0};
}
