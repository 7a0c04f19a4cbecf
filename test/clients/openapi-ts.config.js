// What @hey-api/openapi-ts generates.
export default {
  input: "openapi.json",
  output: { path: "hey_api", importFileExtension: ".js" },
  plugins: ["@hey-api/typescript", "@hey-api/sdk", "@hey-api/client-fetch"],
  logs: { level: "warn" },
};
