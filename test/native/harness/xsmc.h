/*
 * The part of XS in C that the binding uses, over Node's stable C interface: so that crypto-xs.c is tested as it is,
 * with the arguments that JavaScript can make. The real one is tested by `npm run xs`.
 *
 * Declared by hand, since not every Node comes with its headers; the interface is stable (nodejs.org/api/n-api.html).
 */
#ifndef XSMC_H
#define XSMC_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct napi_env__ *napi_env;
typedef struct napi_value__ *napi_value;
typedef struct napi_callback_info__ *napi_callback_info;
typedef napi_value (*napi_callback)(napi_env env, napi_callback_info info);
typedef int napi_status;

enum { NAPI_UNDEFINED = 0, NAPI_NUMBER = 3 };
enum { NAPI_INT8 = 0, NAPI_UINT8 = 1, NAPI_UINT8_CLAMPED = 2 };

extern napi_status napi_get_cb_info(napi_env, napi_callback_info, size_t *, napi_value *, napi_value *, void **);
extern napi_status napi_typeof(napi_env, napi_value, int *);
extern napi_status napi_get_value_double(napi_env, napi_value, double *);
extern napi_status napi_get_boolean(napi_env, bool, napi_value *);
extern napi_status napi_get_undefined(napi_env, napi_value *);
extern napi_status napi_is_arraybuffer(napi_env, napi_value, bool *);
extern napi_status napi_is_detached_arraybuffer(napi_env, napi_value, bool *);
extern napi_status napi_get_arraybuffer_info(napi_env, napi_value, void **, size_t *);
extern napi_status napi_is_typedarray(napi_env, napi_value, bool *);
extern napi_status napi_get_typedarray_info(napi_env, napi_value, int *, size_t *, void **, napi_value *, size_t *);
extern napi_status napi_is_dataview(napi_env, napi_value, bool *);
extern napi_status napi_get_dataview_info(napi_env, napi_value, size_t *, void **, napi_value *, size_t *);
extern napi_status napi_throw_type_error(napi_env, const char *, const char *);
extern napi_status napi_throw_range_error(napi_env, const char *, const char *);
extern napi_status napi_create_function(napi_env, const char *, size_t, napi_callback, void *, napi_value *);
extern napi_status napi_set_named_property(napi_env, napi_value, const char *, napi_value);

typedef struct {
  napi_env env;
  size_t count;
  napi_value arguments[8];
  napi_value result;
  jmp_buf jump;
} xsMachine;

typedef uint32_t xsUnsignedValue;
typedef char xsType;
enum { xsUndefinedType = 0, xsIntegerType = 3, xsNumberType = 4, xsReferenceType = 10 };

#define xsArg(index) (the->arguments[index])
#define xsResult (the->result)
#define xsmcArgc ((int)the->count)
#define xsmcTypeOf(slot) shim_type(the, slot)
#define xsmcToInteger(slot) ((int32_t)shim_number(the, slot))
#define xsmcToNumber(slot) shim_number(the, slot)
#define xsmcSetBoolean(slot, value) napi_get_boolean(the->env, (value) != 0, &(slot))
#define xsmcGetBufferReadable(slot, data, count) shim_buffer(the, slot, data, count)
#define xsmcGetBufferWritable(slot, data, count) shim_buffer(the, slot, data, count)
#define xsTypeError(...) shim_throw(the, 0, __VA_ARGS__)
#define xsRangeError(...) shim_throw(the, 1, __VA_ARGS__)

/* Throws as XS does: what runs is left at once. */
__attribute__((noreturn, format(printf, 3, 4))) static inline void shim_throw(xsMachine *the, int is_range,
                                                                             const char *format, ...) {
  char message[128];
  va_list list;
  va_start(list, format);
  vsnprintf(message, sizeof message, format, list);
  va_end(list);
  (is_range ? napi_throw_range_error : napi_throw_type_error)(the->env, NULL, message);
  longjmp(the->jump, 1);
}

static inline double shim_number(xsMachine *the, napi_value slot) {
  double number = 0;
  if (napi_get_value_double(the->env, slot, &number) != 0) shim_throw(the, 0, "bug: not a number");
  return number;
}

static inline xsType shim_type(xsMachine *the, napi_value slot) {
  int type = -1;
  napi_typeof(the->env, slot, &type);
  if (type == NAPI_UNDEFINED) return xsUndefinedType;
  if (type != NAPI_NUMBER) return xsReferenceType;
  double number = shim_number(the, slot);
  return number == floor(number) && fabs(number) < 2147483648.0 ? xsIntegerType : xsNumberType;
}

/* Buffers, views of bytes and data views, as XS accepts them; a detached one throws. */
static inline void shim_buffer(xsMachine *the, napi_value slot, void **data, xsUnsignedValue *count) {
  bool is = false;
  int type = -1;
  size_t length = 0, offset = 0;
  napi_value buffer = slot;
  *data = NULL;
  if (napi_is_typedarray(the->env, slot, &is) == 0 && is) {
    napi_get_typedarray_info(the->env, slot, &type, &length, data, &buffer, &offset);
    if (type != NAPI_INT8 && type != NAPI_UINT8 && type != NAPI_UINT8_CLAMPED) shim_throw(the, 0, "this is no buffer");
  } else if (napi_is_dataview(the->env, slot, &is) == 0 && is) {
    napi_get_dataview_info(the->env, slot, &length, data, &buffer, &offset);
  } else if (napi_is_arraybuffer(the->env, slot, &is) == 0 && is) {
    napi_get_arraybuffer_info(the->env, slot, data, &length);
  } else {
    shim_throw(the, 0, "this is no buffer");
  }
  if (napi_is_detached_arraybuffer(the->env, buffer, &is) == 0 && is) shim_throw(the, 0, "detached buffer");
  *count = (xsUnsignedValue)length;
}

#endif
