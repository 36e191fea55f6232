/**
 * The cryptography in C as JavaScript functions: `native` is the Moddable SDK's way to name a function of crypto-xs.c.
 * A host that links the C by hand defines a global `native` that finds a function by its name in crypto-xs.h.
 *
 * Not used directly: `createNativeSuite` (../native-suite.ts) makes a crypto suite of these.
 */
export const hash = native('xs_mote_hash');
export const hmac = native('xs_mote_hmac');
export const mac = native('xs_mote_mac');
export const dh = native('xs_mote_dh');
export const publicKey = native('xs_mote_public_key');
export const aeadSeal = native('xs_mote_aead_seal');
export const aeadOpen = native('xs_mote_aead_open');
export const xaeadSeal = native('xs_mote_xaead_seal');
export const xaeadOpen = native('xs_mote_xaead_open');
export const boxKey = native('xs_mote_box_key');
export const boxSeal = native('xs_mote_box_seal');
export const boxOpen = native('xs_mote_box_open');
export const packetSeal = native('xs_mote_packet_seal');
export const packetOpen = native('xs_mote_packet_open');
export const ed25519PublicKey = native('xs_mote_ed25519_public');
export const ed25519Sign = native('xs_mote_ed25519_sign');
export const ed25519Verify = native('xs_mote_ed25519_verify');
