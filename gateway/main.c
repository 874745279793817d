#include "gateway/gateway.h"

int main(int argc, char **argv) {
    return role_main(&gateway_role, argc, argv);
}
