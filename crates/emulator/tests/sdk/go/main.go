// Makes the calls asked for on standard input with Huawei Cloud's SDK, and says on standard output what came of each.
//
// A question is a line such as {"call": "ListAsyncInvocations", "parameters": {"function_urn": "...", "limit": "10"}},
// with the parameters under the names that they have on the wire and the body as "body". An answer is a line too:
// "status" and "fields", or "status", "code", "message" and "request_id" as the SDK's error has them.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"reflect"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/provider"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	functiongraph "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/functiongraph/v2"
)

type question struct {
	Call       string          `json:"call"`
	Parameters json.RawMessage `json:"parameters"`
}

type success struct {
	Status int64 `json:"status"`
	Fields any   `json:"fields"`
}

type refusal struct {
	Status    int    `json:"status"`
	Code      string `json:"code"`
	Message   string `json:"message"`
	RequestID string `json:"request_id"`
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// A key from the environment, or what the SDK itself finds there.
func credentials() (auth.ICredential, error) {
	if _, given := os.LookupEnv("SDK_AK"); !given {
		return provider.BasicCredentialEnvProvider().GetCredentials()
	}
	return basic.NewCredentialsBuilder().
		WithAk(os.Getenv("SDK_AK")).
		WithSk(os.Getenv("SDK_SK")).
		WithSecurityToken(os.Getenv("SDK_SECURITY_TOKEN")).
		WithProjectId(os.Getenv("SDK_PROJECT")).
		SafeBuild()
}

func client() *functiongraph.FunctionGraphClient {
	authority, err := os.ReadFile(os.Getenv("SDK_CA"))
	must(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	found, err := credentials()
	must(err)
	built, err := functiongraph.FunctionGraphClientBuilder().
		WithHttpConfig(config.DefaultHttpConfig().WithHttpTransport(transport)).
		WithCredential(found).
		WithEndpoint(os.Getenv("SDK_ENDPOINT")).
		SafeBuild()
	must(err)
	return functiongraph.NewFunctionGraphClient(built)
}

// The SDK's request of a call. A name that the SDK does not know is an error here.
func request(kind reflect.Type, parameters json.RawMessage) reflect.Value {
	made := reflect.New(kind)
	reader := json.NewDecoder(bytes.NewReader(parameters))
	reader.DisallowUnknownFields()
	must(reader.Decode(made.Interface()))
	// A mandatory parameter in Go, and none in Python, where the SDK gives it by itself.
	if field := made.Elem().FieldByName("ContentType"); field.IsValid() && field.Kind() == reflect.String {
		field.SetString("application/json")
	}
	return made
}

func answer(client *functiongraph.FunctionGraphClient, asked question) any {
	method := reflect.ValueOf(client).MethodByName(asked.Call)
	if !method.IsValid() {
		log.Fatalf("the SDK has no call %s", asked.Call)
	}
	results := method.Call([]reflect.Value{request(method.Type().In(0).Elem(), asked.Parameters)})
	if err, failed := results[1].Interface().(error); failed {
		var service *sdkerr.ServiceResponseError
		if !errors.As(err, &service) {
			log.Fatal(err)
		}
		return refusal{service.StatusCode, service.ErrorCode, service.ErrorMessage, service.RequestId}
	}
	response := results[0]
	return success{response.Elem().FieldByName("HttpStatusCode").Int(), response.Interface()}
}

func main() {
	client := client()
	asked := json.NewDecoder(os.Stdin)
	said := json.NewEncoder(os.Stdout)
	for {
		var next question
		if err := asked.Decode(&next); errors.Is(err, io.EOF) {
			return
		} else {
			must(err)
		}
		must(said.Encode(answer(client, next)))
	}
}
