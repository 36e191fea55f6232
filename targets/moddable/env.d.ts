/** Moddable's typings, as far as this folder and the examples import its modules; and a module that they lack. */

/// <reference path="../../node_modules/@moddable/typings/xs.d.ts" />
/// <reference path="../../node_modules/@moddable/typings/net.d.ts" />
/// <reference path="../../node_modules/@moddable/typings/time.d.ts" />
/// <reference path="../../node_modules/@moddable/typings/timer.d.ts" />
/// <reference path="../../node_modules/@moddable/typings/preference.d.ts" />
/// <reference path="../../node_modules/@moddable/typings/modules.d.ts" />
/// <reference path="../../node_modules/@moddable/typings/embedded_io/_common.d.ts" />
/// <reference path="../../node_modules/@moddable/typings/embedded_io/socket/tcp.d.ts" />
/// <reference path="../../node_modules/@moddable/typings/embedded_io/socket/udp.d.ts" />

/** ECMA-419 Wi-Fi, as the SDK has it since the typings were published. */
declare module 'embedded:network/interface/wifi' {
  class WiFi {
    constructor(options: { onChanged?: (this: WiFi, property: string) => void });
    connect(options: { SSID: string; password?: string; secure?: boolean }): void;
    close(): void;
    /** 500 and above: there is an address. */
    readonly connection: number;
    readonly address: string | undefined;
  }
  // biome-ignore lint/style/noDefaultExport: that is what the SDK's module has
  export { WiFi as default };
}
