// Makes the calls asked for on standard input with a client for Open Telekom Cloud, and says on standard output what came
// of each.
//
// A question is a line such as {"call": "ListVersions", "parameters": {"function_urn": "...", "maxitems": "1"}}. An answer
// is a line too: "status" and "fields", or "status", "code" and "message" from the error. The client logs in first, with
// what it finds in the environment; the call "Login" says what it got.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"reflect"

	golangsdk "github.com/opentelekomcloud/gophertelekomcloud"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/common/tags"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/fgs/v2/alias"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/fgs/v2/function"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/fgs/v2/invoke"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/fgs/v2/quotas"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/fgs/v2/reserved"
	functiontags "github.com/opentelekomcloud/gophertelekomcloud/openstack/fgs/v2/tags"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/identity/v3/catalog"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/identity/v3/domains"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/identity/v3/projects"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/identity/v3/tokens"
)

type question struct {
	Call       string          `json:"call"`
	Parameters json.RawMessage `json:"parameters"`
}

type success struct {
	Status int `json:"status"`
	Fields any `json:"fields"`
}

type refusal struct {
	Status    int     `json:"status"`
	Code      *string `json:"code"`
	Message   string  `json:"message"`
	RequestID *string `json:"request_id"`
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// A key, a token or a password from the environment.
func options() golangsdk.AuthOptionsProvider {
	endpoint, project := os.Getenv("SDK_ENDPOINT")+os.Getenv("SDK_VERSION"), os.Getenv("SDK_PROJECT")
	if key := os.Getenv("SDK_AK"); key != "" {
		return golangsdk.AKSKAuthOptions{
			IdentityEndpoint: endpoint,
			ProjectId:        project,
			ProjectName:      os.Getenv("SDK_PROJECT_NAME"),
			Domain:           os.Getenv("SDK_DOMAIN"),
			Region:           "eu-de",
			AccessKey:        key,
			SecretKey:        os.Getenv("SDK_SK"),
			SecurityToken:    os.Getenv("SDK_SECURITY_TOKEN"),
		}
	}
	return golangsdk.AuthOptions{
		IdentityEndpoint: endpoint,
		TokenID:          os.Getenv("SDK_TOKEN"),
		Username:         os.Getenv("SDK_USER"),
		UserID:           os.Getenv("SDK_USER_ID"),
		Password:         os.Getenv("SDK_PASSWORD"),
		DomainName:       os.Getenv("SDK_DOMAIN"),
		TenantID:         project,
		TenantName:       os.Getenv("SDK_PROJECT_NAME"),
	}
}

func logIn() (*golangsdk.ProviderClient, error) {
	authority, err := os.ReadFile(os.Getenv("SDK_CA"))
	must(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	provider, err := openstack.NewClient(options().GetIdentityEndpoint())
	must(err)
	provider.HTTPClient = http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	return provider, openstack.Authenticate(provider, options())
}

// The parameters of a call, as the client's own type.
func as[T any](parameters json.RawMessage) T {
	var value T
	must(json.Unmarshal(parameters, &value))
	return value
}

func deleted(err error) (any, error) { return struct{}{}, err }

func call(provider *golangsdk.ProviderClient, name string, given json.RawMessage) (any, error) {
	functions, err := openstack.NewFuncGraph(provider, golangsdk.EndpointOpts{})
	if err != nil {
		return nil, err
	}
	identity, err := openstack.NewIdentityV3(provider, golangsdk.EndpointOpts{})
	if err != nil {
		return nil, err
	}
	at := as[struct {
		Urn     string             `json:"function_urn"`
		Alias   string             `json:"alias_name"`
		Subject string             `json:"token"`
		Event   map[string]string  `json:"event"`
		Tags    []tags.ResourceTag `json:"tags"`
		Name    string             `json:"project_name"`
		Max     int                `json:"max_instance_num"`
	}](given)
	switch name {
	case "Login":
		return map[string]string{"endpoint": functions.Endpoint, "project": provider.ProjectID, "domain": provider.DomainID, "user": provider.UserID, "token": provider.TokenID}, nil
	case "LaunchAsync":
		return invoke.LaunchAsync(functions, at.Urn, at.Event)
	case "LaunchSync":
		return invoke.LaunchSync(functions, at.Urn)
	case "ListFunctions":
		return function.List(functions, function.ListOpts{})
	case "CreateFunction":
		return function.Create(functions, as[function.CreateOpts](given))
	case "GetMetadata":
		return function.GetMetadata(functions, at.Urn)
	case "UpdateFuncMetadata":
		opts := as[function.UpdateFuncMetadataOpts](given)
		opts.FuncUrn = at.Urn
		return function.UpdateFuncMetadata(functions, opts)
	case "UpdateMaxInstances":
		return function.UpdateMaxInstances(functions, function.UpdateFuncInstancesOpts{FuncUrn: at.Urn, MaxInstanceNum: at.Max})
	case "GetCode":
		return function.GetCode(functions, at.Urn)
	case "UpdateFuncCode":
		opts := as[function.UpdateFuncCodeOpts](given)
		opts.FuncUrn = at.Urn
		return function.UpdateFuncCode(functions, opts)
	case "DeleteFunction":
		return deleted(function.Delete(functions, at.Urn))
	case "ListVersion":
		return alias.ListVersion(functions, alias.ListVersionOpts{FuncUrn: at.Urn})
	case "PublishVersion":
		opts := as[alias.PublishOpts](given)
		opts.FuncUrn = at.Urn
		return alias.PublishVersion(functions, opts)
	case "ListAlias":
		return alias.ListAlias(functions, at.Urn)
	case "CreateAlias":
		opts := as[alias.CreateAliasOpts](given)
		opts.FuncUrn = at.Urn
		return alias.CreateAlias(functions, opts)
	case "GetAlias":
		return alias.GetAlias(functions, at.Urn, at.Alias)
	case "UpdateAlias":
		opts := as[alias.UpdateAliasOpts](given)
		opts.FuncUrn, opts.AliasName = at.Urn, at.Alias
		return alias.UpdateAlias(functions, opts)
	case "DeleteAlias":
		return deleted(alias.Delete(functions, at.Urn, at.Alias))
	case "UpdateReserved":
		opts := as[reserved.UpdateOpts](given)
		opts.FuncUrn = at.Urn
		return reserved.Update(functions, opts)
	case "ListReservedInst":
		return reserved.ListReservedInst(functions, reserved.ListOpts{})
	case "ListReservedInstConfigs":
		return reserved.ListReservedInstConfigs(functions, reserved.ListConfigOpts{})
	case "ListQuotas":
		return quotas.ListQuotas(functions)
	case "CreateTags":
		return deleted(functiontags.CreateResourceTag(functions, functiontags.TagsActionOpts{Id: at.Urn, Action: "create", Tags: at.Tags}))
	case "GetTags":
		return functiontags.GetResourceTags(functions, at.Urn)
	case "ListCatalog":
		pages, err := catalog.List(identity).AllPages()
		if err != nil {
			return nil, err
		}
		return catalog.ExtractServiceCatalog(pages)
	case "ListProjects":
		pages, err := projects.List(identity, projects.ListOpts{Name: at.Name}).AllPages()
		if err != nil {
			return nil, err
		}
		return projects.ExtractProjects(pages)
	case "GetProject":
		return projects.Get(identity, provider.ProjectID).Extract()
	case "ListDomains":
		pages, err := domains.List(identity, domains.ListOpts{}).AllPages()
		if err != nil {
			return nil, err
		}
		return domains.ExtractDomains(pages)
	case "GetToken":
		return tokens.Get(identity, at.Subject).ExtractUser()
	case "ValidateToken":
		return tokens.Validate(identity, at.Subject)
	case "RevokeToken":
		return deleted(tokens.Revoke(identity, at.Subject).Err)
	}
	log.Fatalf("no call %s", name)
	return nil, nil
}

// What the client's error says of an answer. Every status has a type of its own, with the same parts.
func refused(err error) (refusal, bool) {
	for ; err != nil; err = errors.Unwrap(err) {
		value := reflect.ValueOf(err)
		if value.Kind() != reflect.Struct || !value.FieldByName("Actual").IsValid() {
			continue
		}
		var body struct {
			Code    string `json:"error_code"`
			Message string `json:"error_msg"`
			Error   struct {
				Message string `json:"message"`
			} `json:"error"`
		}
		text := value.FieldByName("Body").Bytes()
		if json.Unmarshal(text, &body) != nil {
			body.Message = string(text)
		}
		return refusal{int(value.FieldByName("Actual").Int()), &body.Code, body.Message + body.Error.Message, nil}, true
	}
	return refusal{}, false
}

func main() {
	provider, loggedIn := logIn()
	asked := json.NewDecoder(os.Stdin)
	said := json.NewEncoder(os.Stdout)
	for {
		var next question
		if err := asked.Decode(&next); errors.Is(err, io.EOF) {
			return
		} else {
			must(err)
		}
		fields, err := any(nil), loggedIn
		if err == nil {
			fields, err = call(provider, next.Call, next.Parameters)
		}
		if err == nil {
			must(said.Encode(success{200, fields}))
		} else if saidNo, ok := refused(err); ok {
			must(said.Encode(saidNo))
		} else {
			must(said.Encode(map[string]string{"threw": err.Error()}))
		}
	}
}
