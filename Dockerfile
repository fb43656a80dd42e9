# The worker as one static program in an otherwise empty image. `make docker` builds it.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=""
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/tailfold ./cmd/tailfold
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /out/publish-flights ./examples/publish-flights

# A publisher of events to try it with: docker build --target publish-flights .
FROM scratch AS publish-flights
COPY --from=build /out/publish-flights /publish-flights
USER 65532:65532
ENTRYPOINT ["/publish-flights"]

FROM scratch
# The certificates that the world knows, for tls:// and rediss://.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/tailfold /tailfold
USER 65532:65532
ENV TAILFOLD_CONFIG=/etc/tailfold/tailfold.yaml
EXPOSE 8321
# No HEALTHCHECK: an orchestrator asks http://…:8321/livez and /readyz.
ENTRYPOINT ["/tailfold"]
CMD ["run"]
