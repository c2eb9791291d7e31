import { defineConfig } from 'vite';

// One port, because `vestibule dev --storefront` is told where these pages are.
const here = { port: 5173, strictPort: true };

export default defineConfig({ server: here, preview: here });
