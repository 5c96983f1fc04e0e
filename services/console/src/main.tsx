import { QueryCache, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { App as AntApp } from "antd";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { RouterProvider } from "react-router";
import { ApiError } from "@/api/client";
import { SESSION_KEY } from "@/api/queries";
import { router } from "@/app/routes";
import { I18nProvider } from "@/i18n";
import { ThemeProvider } from "@/theme";
import "@/theme/styles.css";

const queries = new QueryClient({
  queryCache: new QueryCache({
    // A session that has ended shows at the next question; asking who is signed in then leads to the door.
    onError: (error, query) => {
      const ended = error instanceof ApiError && error.status === 401 && query.queryKey !== SESSION_KEY;
      if (ended) void queries.invalidateQueries({ queryKey: SESSION_KEY });
    },
  }),
  defaultOptions: {
    queries: {
      staleTime: 10_000,
      // What the server has refused it will refuse again; only a part that does not answer is asked once more.
      retry: (count, error) => count < 2 && (!(error instanceof ApiError) || error.status === 0 || error.status >= 502),
    },
  },
});

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no #root");

createRoot(root).render(
  <StrictMode>
    <I18nProvider>
      <ThemeProvider>
        <AntApp notification={{ placement: "bottomRight" }} message={{ maxCount: 3 }}>
          <QueryClientProvider client={queries}>
            <RouterProvider router={router} />
          </QueryClientProvider>
        </AntApp>
      </ThemeProvider>
    </I18nProvider>
  </StrictMode>,
);
