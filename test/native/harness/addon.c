/* A Node addon with every function of crypto-xs.c under its own name. */
#include "xsmc.h"

#include "crypto-xs.h"

#define DECLARE(name, length) void name(xsMachine *the);
MOTE_XS_FUNCTIONS(DECLARE)

typedef void (*host_function)(xsMachine *the);

static const struct entry {
  const char *name;
  host_function function;
} FUNCTIONS[] = {
#define ENTRY(name, length) {#name, name},
    MOTE_XS_FUNCTIONS(ENTRY)};

static napi_value call(napi_env env, napi_callback_info info) {
  xsMachine machine = {.env = env, .count = sizeof machine.arguments / sizeof machine.arguments[0]};
  void *entry = NULL;
  size_t room = machine.count;
  napi_get_cb_info(env, info, &machine.count, machine.arguments, NULL, &entry);
  if (machine.count > room) machine.count = room;
  napi_get_undefined(env, &machine.result);
  if (setjmp(machine.jump) != 0) return NULL;
  ((const struct entry *)entry)->function(&machine);
  return machine.result;
}

__attribute__((visibility("default"))) napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  for (size_t i = 0; i < sizeof FUNCTIONS / sizeof FUNCTIONS[0]; i++) {
    napi_value function;
    napi_create_function(env, FUNCTIONS[i].name, (size_t)-1, call, (void *)&FUNCTIONS[i], &function);
    napi_set_named_property(env, exports, FUNCTIONS[i].name, function);
  }
  return exports;
}
