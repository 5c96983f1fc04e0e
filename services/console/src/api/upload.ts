import { ApiError, toProblem, unreachable, url } from "./client";
import type { Upload } from "./types.gen";

export interface Sending {
  done: Promise<Upload>;
  abort: () => void;
}

/** Sends a file as it is. XMLHttpRequest, because fetch does not say how far a body has come. */
export function upload(project: string, file: File, onProgress: (share: number) => void): Sending {
  const request = new XMLHttpRequest();
  const done = new Promise<Upload>((resolve, reject) => {
    request.open("PUT", url(`/projects/${project}/uploads`, { filename: file.name }));
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => onProgress(event.lengthComputable ? event.loaded / event.total : 0);
    request.onload = () => {
      if (request.status < 300) resolve(JSON.parse(request.responseText) as Upload);
      else reject(new ApiError(toProblem(request.status, request.responseText)));
    };
    request.onerror = () => reject(new ApiError(unreachable()));
    request.onabort = () => reject(new DOMException("aborted", "AbortError"));
    request.send(file);
  });
  return { done, abort: () => request.abort() };
}
