import { defineConfig } from 'vite';

// `npm run dev` shows the page from its sources and asks a running server for the rest.
const server = process.env.SPANGLASS_DEV_SERVER ?? 'http://127.0.0.1:7717';

const asked = ['/v1', '/docs', '/openapi.json', '/metrics', '/healthz', '/readyz'];

export default defineConfig({
  root: import.meta.dirname,
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  server: {
    port: 7718,
    proxy: Object.fromEntries(asked.map((path) => [path, { target: server, changeOrigin: true, headers: { origin: server } }])),
  },
  build: {
    target: 'es2022',
    // The page's policy is `default-src 'self'`: nothing may be inlined as a data: address.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    reportCompressedSize: true,
    rolldownOptions: {
      output: {
        // Fixed names: what is built is committed, and a changed name would make every diff unreadable.
        entryFileNames: 'app.js',
        chunkFileNames: '[name].js',
        assetFileNames: 'app[extname]',
        // Named, so that they are not called after whichever module comes first, and few: what views share is one part.
        codeSplitting: {
          groups: [
            { name: 'vendor', test: /node_modules[\\/](@?preact)[\\/]/, priority: 3 },
            { name: 'base', test: /src[\\/](api|lib|parts)[\\/](?!uplot)/, priority: 2 },
            { name: 'invocation', test: /src[\\/]views[\\/]invocation[\\/]/, priority: 1 },
            { name: 'calls', test: /src[\\/]views[\\/](invocations|logs|errors)[\\/]/, priority: 1 },
          ],
        },
      },
    },
  },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
} as Parameters<typeof defineConfig>[0]);
