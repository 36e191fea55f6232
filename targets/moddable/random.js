/**
 * Bytes of the chip's random generator, for `createRandom` in entropy.ts. The function fills the buffer it is given.
 * Loaded by name (`Modules.importNow`), which gives the default export.
 */
export default native('xs_motenet_random');
