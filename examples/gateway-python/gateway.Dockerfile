# The gateway, built from the root of this repository.
FROM golang:1.26 AS build
WORKDIR /src
COPY . .
# grpcnotrace leaves out gRPC's own tracing pages, which make the program much larger.
RUN CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -ldflags "-s -w" -o /once ./cmd/once

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /once /once
ENTRYPOINT ["/once"]
